#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"
#include "tools/diptych/profile.h"
#include "tools/diptych/push_command.h"
#include "tools/diptych/push_report.h"
#include "tools/diptych/push_signing.h"
#include "tools/diptych/wire_text.h"
#include "tools/gateway/gateway_session.h"
#include "tools/gateway/source_signer.h"
#include "tools/gateway/spool.h"

namespace diptych::cli {
namespace {

class Drain {
 public:
  Drain(const CommandContext& context, const PushOptions& options)
      : context_(context),
        output_(*context.output),
        has_receipt_(!options.receipt.empty()) {
    spool_.directory = options.spool;
    spool_.key_file = options.spool_key;
  }

  absl::StatusOr<ExitCode> Run();

 private:
  // What one session left. ABORTED: it is in use.
  absl::Status DrainOne(const std::string& folder);
  // Another gateway left, or is about to bring, the session's other side.
  absl::StatusOr<bool> HasOtherFolder(const std::string& folder) const;
  void ShowProblem(const std::string& session, const std::string& what);

  const CommandContext& context_;
  Output& output_;
  const bool has_receipt_;
  gateway::SpoolOptions spool_;
  std::string profile_folder_;
  std::shared_ptr<const gateway::SourceSigner> signer_;
  uint64_t sessions_ = 0;
  uint64_t packets_ = 0;
  uint64_t statements_ = 0;
  uint64_t problems_ = 0;
};

void Drain::ShowProblem(const std::string& session, const std::string& what) {
  ++problems_;
  output_.Warning(absl::StrCat(session, ": ", what));
  output_.Line("problem", {{"session", session}, {"problem", what}});
}

absl::StatusOr<bool> Drain::HasOtherFolder(const std::string& folder) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                   gateway::Spool::List(spool_));
  // SESSION-SIDES.
  const std::string session = folder.substr(0, folder.rfind('-') + 1);
  return std::any_of(
      folders.begin(), folders.end(), [&](const std::string& other) {
        return other != folder && absl::StartsWith(other, session);
      });
}

absl::Status Drain::DrainOne(const std::string& folder) {
  ASSIGN_OR_RETURN(std::unique_ptr<gateway::Spool> spool,
                   gateway::Spool::OpenExisting(spool_, folder));
  for (const std::string& damage : spool->damages()) {
    output_.Note(absl::StrCat(folder, ": ", damage));
  }
  gateway::SessionOptions options;
  options.session_id = spool->state().session_id;
  options.start_time = spool->state().start_time;
  const std::string session = options.session_id.ToString();
  for (const auto& [id, side] : spool->state().sides) {
    options.sides.emplace_back().set_side(id);
  }
  ASSIGN_OR_RETURN(options.more_sides_expected, HasOtherFolder(folder));
  options.spool = spool_;
  options.continues = true;
  options.source_signer = signer_;
  options.opened_spool = std::move(spool);
  options.connect = [this]() -> absl::StatusOr<std::shared_ptr<grpc::Channel>> {
    ASSIGN_OR_RETURN(const Profile profile, LoadProfile(profile_folder_));
    return Connect(profile, profile.ingest_address);
  };
  const auto gateway = gateway::GatewaySession::Start(std::move(options));
  const Interrupt::ScopedCallback abort(context_.interrupt,
                                        [&gateway] { gateway->Abort(); });
  RETURN_IF_ERROR(gateway->WaitUntilOpen(limits::kFirstConnectTimeout));
  ASSIGN_OR_RETURN(const api::v1::Receipt receipt,
                   gateway->Close(limits::kCloseTimeout));
  ++sessions_;
  for (const auto& [side, counted] : gateway->counters().sides) {
    packets_ += counted.sent;
    statements_ += counted.statements;
    if (counted.acknowledged < counted.accepted) {
      ShowProblem(
          session,
          absl::StrCat("the archive closed it before ",
                       counted.accepted - counted.acknowledged,
                       " packets of a side had come; remove the folder ",
                       spool_.directory, "/", folder, " to give them up"));
    }
  }
  if (!receipt.session_id().empty()) ShowReceipt(receipt, &output_);
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Drain::Run() {
  if (spool_.directory.empty()) {
    return absl::InvalidArgumentError("--drain wants --spool=DIR");
  }
  if (has_receipt_) {
    return absl::InvalidArgumentError(
        "--receipt is for one session, and --drain may end many");
  }
  ASSIGN_OR_RETURN(profile_folder_, ProfileFolder(context_.profile_flag));
  ASSIGN_OR_RETURN(const Profile own, LoadProfile(profile_folder_));
  ASSIGN_OR_RETURN(signer_, LoadSourceSigner(own));
  const absl::Duration began = base::Clock::Real()->Monotonic();
  ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                   gateway::Spool::List(spool_));
  uint64_t left_alone = 0;
  for (const std::string& folder : folders) {
    const absl::Status status = DrainOne(folder);
    RETURN_IF_ERROR(context_.interrupt->Check());
    // Not found: its gateway died before it had anything to leave.
    if (status.ok() || absl::IsNotFound(status)) continue;
    if (absl::IsAborted(status)) {
      ++left_alone;
      output_.Note(std::string(status.message()));
      continue;
    }
    if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
      ASSIGN_OR_RETURN(const Profile profile, LoadProfile(profile_folder_));
      return ExplainCallError(absl::UnavailableError(status.message()), profile,
                              profile.ingest_address);
    }
    ShowProblem(folder, std::string(status.message()));
  }
  const absl::Duration took = base::Clock::Real()->Monotonic() - began;
  output_.Summary(
      {{"sessions", sessions_},
       {"packets", packets_},
       {"statements", statements_},
       {"left_alone", left_alone},
       {"problems", problems_},
       {"elapsed_s", Seconds(absl::ToInt64Microseconds(took))}},
      absl::StrCat(sessions_, " sessions drained, ", packets_, " packets"));
  return problems_ == 0 ? ExitCode::kDone : ExitCode::kFailed;
}

}  // namespace

absl::StatusOr<ExitCode> RunDrain(const CommandContext& context,
                                  const PushOptions& options) {
  return Drain(context, options).Run();
}

}  // namespace diptych::cli
