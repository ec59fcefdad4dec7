#include "tools/diptych/push_command.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"
#include "tools/diptych/profile.h"
#include "tools/diptych/push_plan.h"
#include "tools/diptych/push_receipt.h"
#include "tools/diptych/push_report.h"
#include "tools/diptych/push_signing.h"
#include "tools/diptych/wire_text.h"
#include "tools/gateway/gateway_session.h"
#include "tools/gateway/media_source.h"
#include "tools/gateway/session_pump.h"
#include "tools/gateway/source_signer.h"
#include "tools/gateway/spool.h"

namespace diptych::cli {
namespace {

constexpr uint32_t kFirstResidentTrack = 1;
constexpr uint32_t kFirstClerkTrack =
    kFirstResidentTrack + limits::kMaxTracksPerSide;

struct Input {
  api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
  std::string name;
  uint32_t first_track_id = 0;
  absl::StatusOr<std::unique_ptr<gateway::MediaSource>> source =
      absl::UnknownError("not opened");
};

// What the session's threads have to tell, for the command's own thread.
class Messages {
 public:
  void Add(std::string message) {
    base::MutexLock lock(&mutex_);
    if (messages_.size() < limits::kMaxProblems) {
      messages_.push_back(std::move(message));
    }
  }

  void ShowAll(Output* output) {
    std::vector<std::string> shown;
    {
      base::MutexLock lock(&mutex_);
      shown.swap(messages_);
    }
    for (const std::string& message : shown) output->Note(message);
  }

 private:
  base::Mutex mutex_;
  std::vector<std::string> messages_ ABSL_GUARDED_BY(mutex_);
};

class Push {
 public:
  Push(const CommandContext& context, const PushOptions& options)
      : context_(context), options_(options), output_(*context.output) {}

  absl::StatusOr<ExitCode> Run();

 private:
  absl::Status ParseOptions();
  absl::Status OpenInputs();
  absl::Status StartSession();
  gateway::PumpResult Pump();
  void ShowProblem(api::v1::Side side, const std::string& input,
                   const gateway::SourceProblem& problem);
  // True if all of the inputs was archived.
  bool ShowResult(const gateway::PumpResult& result);
  void ShowSummary(const gateway::PumpResult& result);
  // Shows and keeps it; asks for one that is proven if it has to be kept.
  absl::Status TakeReceipt(api::v1::Receipt receipt);

  const CommandContext& context_;
  const PushOptions& options_;
  Output& output_;
  std::string profile_folder_;
  std::shared_ptr<const gateway::SourceSigner> signer_;
  base::Uuid session_id_;
  std::optional<absl::Time> start_time_;
  std::vector<gateway::PumpNote> notes_;
  std::vector<Input> inputs_;
  // Sides of which nothing can be read, though of the other one can.
  struct LeftOut {
    api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
    std::string input;
    std::string why;
  };
  std::vector<LeftOut> left_out_;
  std::vector<int64_t> shifts_us_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> keyframes_not_asked_ = 0;
  Messages messages_;
  std::unique_ptr<gateway::GatewaySession> session_;
  // With which to ask for its receipt again.
  gateway::SessionOptions closed_session_;
  absl::Duration began_;
  uint64_t problems_ = 0;
};

absl::Status Push::ParseOptions() {
  if (options_.spool.empty() && !options_.spool_key.empty()) {
    return absl::InvalidArgumentError("--spool-key wants --spool=DIR");
  }
  if (options_.resident.empty() && options_.clerk.empty()) {
    return absl::InvalidArgumentError(
        "push wants --resident=IN, --clerk=IN or both");
  }
  if (options_.resident == "-" && options_.clerk == "-") {
    return absl::InvalidArgumentError(
        "only one of the sides can come from stdin");
  }
  session_id_ = base::Uuid::Random();
  if (!options_.session.empty()) {
    const auto id = base::Uuid::Parse(options_.session);
    if (!id.ok()) {
      return absl::InvalidArgumentError(
          "--session must be a UUID (8-4-4-4-12 hexadecimal digits)");
    }
    session_id_ = *id;
  }
  if (!options_.start_time.empty()) {
    absl::Time time;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, options_.start_time, &time,
                         &error)) {
      return absl::InvalidArgumentError(
          "--start_time must be an RFC 3339 time, as 2026-11-01T08:30:00Z");
    }
    start_time_ = time;
  }
  ASSIGN_OR_RETURN(notes_, PlanNotes(options_));
  ASSIGN_OR_RETURN(profile_folder_, ProfileFolder(context_.profile_flag));
  ASSIGN_OR_RETURN(const Profile profile, LoadProfile(profile_folder_));
  ASSIGN_OR_RETURN(signer_, LoadSourceSigner(profile));
  if (options_.receipt.empty()) return absl::OkStatus();
  return CheckReceiptPath(options_.receipt, session_id_.ToString());
}

absl::Status Push::OpenInputs() {
  if (!options_.resident.empty()) {
    inputs_.push_back({.side = api::v1::SIDE_RESIDENT,
                       .name = options_.resident,
                       .first_track_id = kFirstResidentTrack});
  }
  if (!options_.clerk.empty()) {
    inputs_.push_back({.side = api::v1::SIDE_CLERK,
                       .name = options_.clerk,
                       .first_track_id = kFirstClerkTrack});
  }
  // At once: both sides of a live call begin together.
  std::vector<std::thread> openers;
  for (Input& input : inputs_) {
    openers.emplace_back([this, &input] {
      gateway::SourceOptions options;
      options.input = input.name;
      options.side = input.side;
      options.first_track_id = input.first_track_id;
      options.stop = &stop_;
      input.source = gateway::MediaSource::Open(options);
    });
  }
  for (std::thread& opener : openers) opener.join();
  RETURN_IF_ERROR(context_.interrupt->Check());

  absl::Status first_error;
  for (const Input& input : inputs_) {
    const absl::Status& status = input.source.status();
    if (status.code() == absl::StatusCode::kInvalidArgument) return status;
    first_error.Update(status);
  }
  const auto usable = [](const Input& input) { return input.source.ok(); };
  if (std::none_of(inputs_.begin(), inputs_.end(), usable)) return first_error;
  for (const Input& input : inputs_) {
    if (!input.source.ok())
      left_out_.push_back({input.side, input.name,
                           std::string(input.source.status().message())});
  }
  std::erase_if(inputs_, [&](const Input& input) { return !usable(input); });
  return absl::OkStatus();
}

absl::Status Push::StartSession() {
  std::vector<gateway::MediaSource*> sources;
  gateway::SessionOptions session;
  absl::Time first_live = absl::InfiniteFuture();
  for (const Input& input : inputs_) {
    gateway::MediaSource* const source = input.source->get();
    sources.push_back(source);
    if (source->live()) {
      first_live = std::min(first_live, source->zero_arrival());
    }
    api::v1::OpenSide& side = session.sides.emplace_back();
    side.set_side(input.side);
    for (const api::v1::Track& track : source->tracks()) {
      *side.add_tracks() = track;
    }
  }
  shifts_us_ = gateway::PlaceInputs(sources);
  const absl::Time began = std::min(first_live, base::Clock::Real()->Now());
  const bool any_live = first_live < absl::InfiniteFuture();
  if (!options_.spool.empty()) {
    session.spool = {.directory = options_.spool,
                     .key_file = options_.spool_key};
    ASSIGN_OR_RETURN(
        session.opened_spool,
        gateway::Spool::Open(session.spool, session_id_, session.sides,
                             start_time_.value_or(began)));
    // An input that does not begin again goes on where the last run was cut.
    session.continues = any_live && session.opened_spool->recovered();
    if (session.opened_spool->recovered()) {
      start_time_ = session.opened_spool->state().start_time;
    }
    for (const std::string& damage : session.opened_spool->damages()) {
      messages_.Add(absl::StrCat("the spool of an earlier run: ", damage));
    }
    if (session.continues) {
      for (int64_t& shift_us : shifts_us_) {
        shift_us += std::max<int64_t>(
            0, absl::ToInt64Microseconds(began - *start_time_));
      }
    }
  }
  if (!start_time_.has_value()) start_time_ = began;
  session.session_id = session_id_;
  session.start_time = *start_time_;
  session.connect = [this]() -> absl::StatusOr<std::shared_ptr<grpc::Channel>> {
    ASSIGN_OR_RETURN(const Profile profile, LoadProfile(profile_folder_));
    return Connect(profile, profile.ingest_address);
  };
  session.source_signer = signer_;
  // Files are sent again from their start by whoever runs the same command.
  session.repeatable = !any_live;
  closed_session_.connect = session.connect;
  closed_session_.session_id = session.session_id;
  closed_session_.start_time = session.start_time;
  closed_session_.sides = session.sides;
  session.on_broken = [this](const absl::Status& reason) {
    messages_.Add(absl::StrCat("the connection broke (", reason.message(),
                               "); trying again"));
  };
  session.on_keyframe_wanted = [this](uint32_t track_id) {
    for (const Input& input : inputs_) {
      if (track_id < input.first_track_id ||
          track_id >= input.first_track_id + limits::kMaxTracksPerSide) {
        continue;
      }
      if (!(*input.source)->RequestKeyFrame(track_id)) ++keyframes_not_asked_;
    }
  };
  session_ = gateway::GatewaySession::Start(std::move(session));
  const Interrupt::ScopedCallback abort(context_.interrupt,
                                        [this] { session_->Abort(); });
  // With a spool a call begins whether its archive is there or not.
  if (!options_.spool.empty()) return absl::OkStatus();
  return session_->WaitUntilOpen();
}

gateway::PumpResult Push::Pump() {
  gateway::PumpOptions pump;
  int64_t total_us = 0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    gateway::MediaSource* const source = inputs_[i].source->get();
    pump.inputs.push_back(
        {.side = inputs_[i].side, .source = source, .shift_us = shifts_us_[i]});
    total_us = std::max(total_us, source->duration_us());
  }
  pump.notes = std::move(notes_);
  pump.start_time = *start_time_;
  pump.paced = !options_.fast;
  pump.wait_for_room = options_.fast || options_.spool.empty();
  pump.stop = &stop_;
  uint64_t sent = 0;
  pump.on_progress = [&, this](int64_t reached_us) {
    messages_.ShowAll(&output_);
    // A bar redrawn for each packet would cost more than the packet.
    if (++sent % 64 != 0 || total_us == 0) return;
    output_.Progress("pushed", std::max<int64_t>(reached_us, 0), total_us);
  };
  const gateway::PumpResult result = gateway::RunPump(pump, session_.get());
  output_.EndProgress();
  return result;
}

void Push::ShowProblem(api::v1::Side side, const std::string& input,
                       const gateway::SourceProblem& problem) {
  const std::string word(SideWord(side));
  std::string text = absl::StrCat(word, ", ", input, ": ", problem.what);
  if (!problem.place.empty()) absl::StrAppend(&text, " (", problem.place, ")");
  if (problem.harmless) {
    output_.Note(text);
  } else {
    ++problems_;
    output_.Warning(text);
  }
  output_.Line("problem", {{"side", word},
                           {"input", input},
                           {"problem", problem.what},
                           {"place", problem.place},
                           {"harmless", problem.harmless}});
}

bool Push::ShowResult(const gateway::PumpResult& result) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = inputs_[i];
    for (const auto& problem : (*input.source)->problems()) {
      ShowProblem(input.side, input.name, problem);
    }
    for (const auto& problem : result.sides[i].problems) {
      ShowProblem(input.side, input.name, problem);
    }
    if (!result.sides[i].refused.ok()) {
      ShowProblem(input.side, input.name,
                  {.what = absl::StrCat("the archive took no more: ",
                                        result.sides[i].refused.message())});
    }
  }
  return problems_ == 0;
}

void Push::ShowSummary(const gateway::PumpResult& result) {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t unreadable = 0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    packets += result.sides[i].packets;
    bytes += result.sides[i].payload_bytes;
    unreadable += result.sides[i].left_out;
    unreadable += (*inputs_[i].source)->unreadable_packets();
  }
  const absl::Duration took = base::Clock::Real()->Monotonic() - began_;
  const gateway::SessionCounters counters = session_->counters();
  std::string text = absl::StrCat(packets, " packets, ", FormatBytes(bytes));
  absl::StrAppend(&text, TextOf(counters));
  if (unreadable > 0) {
    absl::StrAppend(&text, "; ", unreadable,
                    unreadable == 1 ? " packet" : " packets",
                    " could not be archived");
  }
  output_.Summary({{"session", session_id_.ToString()},
                   {"packets", packets},
                   {"bytes", bytes},
                   {"unreadable_packets", unreadable},
                   {"problems", problems_},
                   {"reconnects", counters.reconnects},
                   {"keyframes_not_asked", keyframes_not_asked_.load()},
                   {"sides", CountersOf(counters)},
                   {"elapsed_s", Seconds(absl::ToInt64Microseconds(took))}},
                  text);
}

absl::Status Push::TakeReceipt(api::v1::Receipt receipt) {
  if (receipt.session_id().empty()) {
    if (options_.receipt.empty()) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "no receipt is written to ", options_.receipt,
        ": another stream still carries a side of the session, and gets it"));
  }
  const absl::Status kept = options_.receipt.empty()
                                ? absl::OkStatus()
                                : WriteReceipt(options_.receipt, receipt);
  if (kept.ok() && !options_.receipt.empty() && receipt.checkpoint().empty()) {
    absl::StatusOr<api::v1::Receipt> proven =
        AwaitProvenReceipt(closed_session_, receipt,
                           2 * limits::kReceiptProofWait, context_.interrupt);
    if (proven.ok()) {
      receipt = *std::move(proven);
      const absl::Status replaced = WriteReceipt(options_.receipt, receipt);
      if (!replaced.ok()) output_.Warning(std::string(replaced.message()));
    } else {
      output_.Warning(absl::StrCat(
          "the receipt in ", options_.receipt, " is not proven yet (",
          proven.status().message(), "): the same command with --session=",
          receipt.session_id(), " asks for it again"));
    }
  }
  ShowReceipt(receipt, &output_);
  return kept;
}

absl::StatusOr<ExitCode> Push::Run() {
  began_ = base::Clock::Real()->Monotonic();
  RETURN_IF_ERROR(ParseOptions());
  // The first Ctrl-C ends the inputs; what was read is still handed over.
  const Interrupt::ScopedCallback stop(context_.interrupt,
                                       [this] { stop_ = true; });
  RETURN_IF_ERROR(OpenInputs());
  if (const absl::Status opened = StartSession(); !opened.ok()) {
    RETURN_IF_ERROR(context_.interrupt->Check());
    ASSIGN_OR_RETURN(const Profile profile, LoadProfile(profile_folder_));
    return ExplainCallError(opened, profile, profile.ingest_address);
  }
  output_.Text(session_id_.ToString());
  output_.Line("session", {{"session", session_id_.ToString()},
                           {"start", FormatUtc(*start_time_)}});
  for (const LeftOut& side : left_out_) {
    ShowProblem(side.side, side.input,
                {.what = absl::StrCat("the side is left out: ", side.why)});
  }
  output_.Flush();

  const gateway::PumpResult result = Pump();
  const auto receipt = session_->Close(limits::kCloseTimeout);
  messages_.ShowAll(&output_);
  const bool whole = ShowResult(result);
  if (!receipt.ok()) {
    RETURN_IF_ERROR(context_.interrupt->Check());
    ASSIGN_OR_RETURN(const Profile profile, LoadProfile(profile_folder_));
    return ExplainCallError(receipt.status(), profile, profile.ingest_address);
  }
  RETURN_IF_ERROR(TakeReceipt(*receipt));
  RETURN_IF_ERROR(result.notes);
  RETURN_IF_ERROR(context_.interrupt->Check());
  ShowSummary(result);
  return whole ? ExitCode::kDone : ExitCode::kFailed;
}

}  // namespace

absl::StatusOr<ExitCode> RunPush(const CommandContext& context,
                                 const PushOptions& options) {
  if (options.drain) return RunDrain(context, options);
  return Push(context, options).Run();
}

}  // namespace diptych::cli
