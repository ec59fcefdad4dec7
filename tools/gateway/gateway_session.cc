#include "tools/gateway/gateway_session.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/sha256.h"
#include "proto/api/v1/ingest.grpc.pb.h"
#include "tools/gateway/outbox.h"
#include "tools/gateway/streaming_session.h"

namespace diptych::gateway {
namespace {

absl::Duration Now() { return base::Clock::Real()->Monotonic(); }

// May the same stream succeed if it is made again? `resuming`: the archive knew
// the session before.
bool IsWorthRetrying(const absl::Status& status, bool resuming) {
  const auto detail = base::GetErrorDetail(status);
  // A newer stream has the session: fighting for it would help nobody.
  if (detail.has_value() && detail->reason() == "TAKEN_OVER") return false;
  if (detail.has_value() && detail->retryable()) return true;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return true;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      // A transport that broke, unless the archive itself says so.
      return !detail.has_value();
    case absl::StatusCode::kAlreadyExists:
      // The archive may not have noticed yet that the last stream is gone.
      return resuming && detail.has_value() &&
             detail->reason() == "SIDE_CONFLICT";
    default:
      return false;
  }
}

// How long the archive asks to wait.
absl::Duration RetryAfter(const absl::Status& status) {
  const auto detail = base::GetErrorDetail(status);
  if (!detail.has_value()) return absl::ZeroDuration();
  return std::min(absl::Milliseconds(detail->retry_after_ms()),
                  limits::kRetryAfterMax);
}

}  // namespace

StreamingSession::StreamingSession(SessionOptions options)
    : options_(std::move(options)),
      outbox_(options_.sides, !options_.spool.directory.empty(),
              {.signer = options_.source_signer,
               .session_id = options_.session_id,
               .repeatable = options_.repeatable}),
      spooling_(!options_.spool.directory.empty()) {
  if (spooling_) spooler_ = std::thread([this] { RunSpool(); });
  runner_ = std::thread([this] { Run(); });
}

StreamingSession::~StreamingSession() {
  Abort();
  runner_.join();
  if (!spooling_) return;
  {
    base::MutexLock lock(&mutex_);
    // Whoever goes on with the spool can't state it all.
    outbox_.AddStatements(Now(), /*all=*/true);
    spool_stop_ = true;
    spool_wanted_.NotifyAll();
  }
  spooler_.join();
}

absl::Status StreamingSession::WaitUntilOpen(absl::Duration timeout) {
  const absl::Duration deadline = Now() + timeout;
  base::MutexLock lock(&mutex_);
  while (!ever_opened_ && !done_ && !failed_.has_value()) {
    if (Now() >= deadline) {
      return absl::DeadlineExceededError("the archive is not reached yet");
    }
    WaitUntil(deadline);
  }
  return failed_.value_or(absl::OkStatus());
}

absl::Status StreamingSession::WhyStopped(api::v1::Side side) const {
  if (failed_.has_value()) return *failed_;
  if (done_) return absl::FailedPreconditionError("the session is closed");
  const auto found = side_failures_.find(side);
  return found == side_failures_.end() ? absl::OkStatus() : found->second;
}

absl::Status StreamingSession::CheckRoom(api::v1::Side side,
                                         size_t bytes) const {
  if (absl::Status status = WhyStopped(side); !status.ok()) return status;
  if (outbox_.kept_bytes() + bytes <= options_.buffer_bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      "what is not durable fills the gateway's memory and spool");
}

absl::Status StreamingSession::WaitForRoom(api::v1::Side side,
                                           absl::Duration timeout) {
  const absl::Duration deadline = Now() + timeout;
  base::MutexLock lock(&mutex_);
  while (true) {
    if (absl::Status status = WhyStopped(side); !status.ok()) return status;
    if (outbox_.kept_bytes() < options_.buffer_bytes / 2) {
      return absl::OkStatus();
    }
    if (Now() >= deadline) {
      return absl::DeadlineExceededError("no room in the gateway's memory");
    }
    WaitUntil(deadline);
  }
}

absl::Status StreamingSession::SendPacket(api::v1::Side side,
                                          api::v1::Packet packet) {
  std::string payload_sha256;
  if (options_.source_signer != nullptr) {
    payload_sha256 = base::Sha256(packet.payload());
  }
  base::MutexLock lock(&mutex_);
  const absl::Status room = CheckRoom(side, packet.payload().size());
  if (absl::IsResourceExhausted(room)) outbox_.CountDropped(side);
  if (!room.ok()) return room;
  outbox_.AddPacket(side, std::move(packet), Now(), std::move(payload_sha256));
  changed_.NotifyAll();
  if (outbox_.kept_bytes() > options_.buffer_bytes / 2) {
    spool_wanted_.NotifyOne();
  }
  return absl::OkStatus();
}

absl::Status StreamingSession::SendNote(api::v1::Side side,
                                        api::v1::Note note) {
  base::MutexLock lock(&mutex_);
  const absl::Status room = CheckRoom(side, note.ByteSizeLong());
  if (!room.ok()) return room;
  const absl::Status added = outbox_.AddNote(side, std::move(note), Now());
  changed_.NotifyAll();
  return added;
}

absl::Status StreamingSession::ChangeTracks(
    api::v1::Side side, const std::vector<api::v1::Track>& tracks) {
  base::MutexLock lock(&mutex_);
  if (absl::Status status = WhyStopped(side); !status.ok()) return status;
  outbox_.AddTracks(side, tracks, Now());
  return absl::OkStatus();
}

absl::StatusOr<api::v1::Receipt> StreamingSession::Close(
    absl::Duration timeout) {
  const absl::Duration deadline = Now() + timeout;
  base::MutexLock lock(&mutex_);
  closing_ = true;
  outbox_.AddStatements(Now(), /*all=*/true);
  changed_.NotifyAll();
  while (!done_ && !failed_.has_value()) {
    if (Now() >= deadline) {
      return absl::DeadlineExceededError(
          "the archive did not close the session in time");
    }
    WaitUntil(deadline);
  }
  if (failed_.has_value()) return *failed_;
  return receipt_;
}

void StreamingSession::Abort() {
  base::MutexLock lock(&mutex_);
  aborted_ = true;
  if (!done_) Fail(absl::CancelledError("interrupted"));
  if (context_ != nullptr) context_->TryCancel();
  changed_.NotifyAll();
}

absl::Status StreamingSession::side_status(api::v1::Side side) const {
  base::MutexLock lock(&mutex_);
  return WhyStopped(side);
}

api::v1::SideProgress StreamingSession::durable(api::v1::Side side) const {
  base::MutexLock lock(&mutex_);
  return outbox_.durable(side);
}

SessionCounters StreamingSession::counters() const {
  base::MutexLock lock(&mutex_);
  SessionCounters counters;
  counters.sides = outbox_.counters();
  counters.reconnects = reconnects_;
  counters.spool_bytes = spool_bytes_;
  counters.spool_status = spool_status_.ok() ? spool_damage_ : spool_status_;
  return counters;
}

void StreamingSession::Fail(const absl::Status& status) {
  if (!failed_.has_value()) failed_ = status;
  changed_.NotifyAll();
}

void StreamingSession::WaitUntil(absl::Duration time) {
  const absl::Duration left = time - Now();
  if (left > absl::ZeroDuration()) {
    changed_.WaitWithTimeout(&mutex_, std::min(left, absl::Hours(1)));
  }
}

bool StreamingSession::MayGiveUp() const {
  if (spooling_) return false;
  // As long as there is room, a call that goes on loses nothing by trying.
  return !ever_opened_ || closing_ ||
         outbox_.kept_bytes() >= options_.buffer_bytes / 2;
}

void StreamingSession::Run() {
  {
    base::MutexLock lock(&mutex_);
    while (spooling_ && !spool_ready_ && !failed_.has_value()) {
      changed_.Wait(&mutex_);
    }
  }
  absl::Duration deadline = Now() + options_.first_connect_timeout;
  int attempt = 0;
  while (true) {
    const absl::Status status = RunStream();
    bool broke = false;
    {
      base::MutexLock lock(&mutex_);
      if (done_ || failed_.has_value()) return;
      if (!IsWorthRetrying(status, ever_opened_)) {
        Fail(status);
        return;
      }
      if (opened_) {
        broke = true;
        ++reconnects_;
        attempt = 0;
        deadline = Now() + options_.reconnect_timeout;
      }
      if (Now() >= deadline) {
        if (MayGiveUp()) {
          Fail(status);
          return;
        }
        deadline = Now() + options_.reconnect_timeout;
      }
    }
    if (broke && options_.on_broken) options_.on_broken(status);
    if (!Backoff(attempt++, RetryAfter(status), deadline)) return;
  }
}

bool StreamingSession::Backoff(int attempt, absl::Duration at_least,
                               absl::Duration deadline) {
  absl::Duration pause =
      std::min(options_.reconnect_min * (1 << std::min(attempt, 16)),
               options_.reconnect_max);
  // So that many gateways do not come back at one moment.
  std::random_device random;
  pause *= std::uniform_real_distribution<double>(0.5, 1.0)(random);
  pause += at_least;
  const absl::Duration until = std::min(Now() + pause, deadline);
  base::MutexLock lock(&mutex_);
  while (!failed_.has_value() && Now() < until) WaitUntil(until);
  return !failed_.has_value();
}

absl::Status StreamingSession::RunStream() {
  auto channel = options_.connect();
  api::v1::RecordRequest open;
  grpc::ClientContext context;
  {
    base::MutexLock lock(&mutex_);
    opened_ = ended_ = draining_ = close_sent_ = false;
    if (!channel.ok()) return channel.status();
    if (failed_.has_value()) return *failed_;
    paused_until_ = absl::ZeroDuration();
    last_heard_ = waiting_since_ = Now();
    context_ = &context;
    open.mutable_open()->set_session_id(options_.session_id.ToString());
    const int64_t start_us = absl::ToUnixMicros(options_.start_time);
    auto* const start = open.mutable_open()->mutable_start_time();
    start->set_seconds(absl::ToUnixSeconds(options_.start_time));
    start->set_nanos(
        static_cast<int32_t>((start_us - start->seconds() * 1'000'000) * 1000));
    for (api::v1::OpenSide& side : outbox_.OpenSides()) {
      *open.mutable_open()->add_sides() = std::move(side);
    }
  }
  const auto stub = api::v1::Ingest::NewStub(*channel);
  const std::unique_ptr<Stream> stream = stub->Record(&context);
  std::thread reader([this, &stream] { ReadAll(stream.get()); });
  std::thread watch([this, &context] { Watch(&context); });
  if (stream->Write(open) && WaitForOpened(&context)) {
    WriteAll(stream.get(), &context);
  }
  reader.join();
  watch.join();
  const absl::Status status = base::FromGrpcStatus(stream->Finish());

  base::MutexLock lock(&mutex_);
  context_ = nullptr;
  // Another stream gets the receipt.
  if (status.ok() && close_sent_ && outbox_.nothing_left()) done_ = true;
  changed_.NotifyAll();
  if (done_ && status.ok() && outbox_.nothing_left()) spool_keep_ = false;
  if (done_) return absl::OkStatus();
  if (status.ok())
    return absl::UnavailableError("the archive ended the stream");
  // Cancelled by nobody but us, for want of an answer.
  if (status.code() == absl::StatusCode::kCancelled && renumbering_ &&
      !aborted_) {
    return absl::UnavailableError(
        absl::StrCat("the spool can't be written: ", spool_status_.message()));
  }
  if (status.code() == absl::StatusCode::kCancelled && !aborted_) {
    return absl::UnavailableError("the archive does not answer");
  }
  return status;
}

bool StreamingSession::WaitForOpened(grpc::ClientContext* context) {
  base::MutexLock lock(&mutex_);
  const absl::Duration deadline = Now() + limits::kFirstConnectTimeout;
  while (!opened_ && !ended_ && Now() < deadline) WaitUntil(deadline);
  if (!opened_ && !ended_) context->TryCancel();
  // A crash must not forget what the numbers above these mean: a disk that does
  // not take them in time costs the stream.
  const absl::Duration written = Now() + limits::kSpoolRenumber;
  while (renumbering_ && !ended_ && !failed_.has_value() && Now() < written) {
    WaitUntil(written);
  }
  if (renumbering_ && !ended_) context->TryCancel();
  return opened_ && !ended_ && !renumbering_;
}

void StreamingSession::Watch(grpc::ClientContext* context) {
  base::MutexLock lock(&mutex_);
  while (!ended_) {
    if (IsStalled() && opened_) {
      context->TryCancel();
      return;
    }
    changed_.WaitWithTimeout(&mutex_, limits::kStreamStall / 10);
  }
}

void StreamingSession::ReadAll(Stream* stream) {
  api::v1::RecordResponse response;
  while (stream->Read(&response)) Handle(response);
  base::MutexLock lock(&mutex_);
  ended_ = true;
  changed_.NotifyAll();
}

void StreamingSession::WriteAll(Stream* stream, grpc::ClientContext* context) {
  bool half_closed = false;
  while (true) {
    std::optional<api::v1::RecordRequest> request;
    {
      base::MutexLock lock(&mutex_);
      while (!ended_ && !failed_.has_value() && !IsStalled()) {
        request = NextRequest();
        if (request.has_value()) break;
        WaitUntil(WakeAt());
      }
      if (!request.has_value()) {
        if (!ended_) context->TryCancel();
        return;
      }
      half_closed = request->has_close();
      close_sent_ = close_sent_ || half_closed;
    }
    if (!stream->Write(*request)) return;
    if (half_closed) stream->WritesDone();
  }
}

std::optional<api::v1::RecordRequest> StreamingSession::NextRequest() {
  if (draining_ || close_sent_ || Now() < paused_until_) return std::nullopt;
  if (!outbox_.waits_for_durable()) waiting_since_ = Now();
  outbox_.AddStatements(Now(), /*all=*/closing_);
  auto request = outbox_.NextMessage(Now(), /*flush=*/closing_);
  if (outbox_.WantsRefill(options_.buffer_bytes / 8)) {
    spool_wanted_.NotifyOne();
  }
  if (request.has_value()) return request;
  if (closing_ && outbox_.everything_sent()) return CloseRequest();
  return std::nullopt;
}

api::v1::RecordRequest StreamingSession::CloseRequest() {
  api::v1::RecordRequest request;
  api::v1::Close* const close = request.mutable_close();
  close->set_more_sides_expected(options_.more_sides_expected);
  for (api::v1::CloseSide& side : outbox_.CloseSides()) {
    *close->add_sides() = std::move(side);
  }
  return request;
}

bool StreamingSession::IsStalled() const {
  const bool waiting = outbox_.waits_for_durable() || close_sent_ || draining_;
  return waiting &&
         Now() > std::max(last_heard_, waiting_since_) + limits::kStreamStall;
}

absl::Duration StreamingSession::WakeAt() const {
  // Short of the stall by nothing, so that it is noticed when it is there.
  absl::Duration wake = Now() + limits::kStreamStall;
  if (Now() < paused_until_) return std::min(wake, paused_until_);
  if (draining_ || close_sent_) return wake;
  if (const auto batch = outbox_.NextDeadline()) wake = std::min(wake, *batch);
  if (const auto due = outbox_.StatementsDueAt()) wake = std::min(wake, *due);
  return wake;
}

void StreamingSession::Handle(const api::v1::RecordResponse& response) {
  {
    base::MutexLock lock(&mutex_);
    last_heard_ = Now();
    HandleLocked(response);
    changed_.NotifyAll();
  }
  if (response.has_opened() && response.opened().resumed() &&
      options_.on_resumed) {
    options_.on_resumed();
  }
  if (response.has_keyframe_wanted() && options_.on_keyframe_wanted) {
    options_.on_keyframe_wanted(response.keyframe_wanted().track_id());
  }
}

void StreamingSession::HandleLocked(const api::v1::RecordResponse& response) {
  switch (response.message_case()) {
    case api::v1::RecordResponse::kOpened: {
      const auto& progress = response.opened().progress();
      const absl::Status status =
          outbox_.Resume({progress.begin(), progress.end()});
      if (!status.ok()) return Fail(status);
      opened_ = ever_opened_ = true;
      renumbering_ = spooling_ && outbox_.has_renumberings();
      spool_wanted_.NotifyOne();
      return;
    }
    case api::v1::RecordResponse::kDurable:
      for (const auto& progress : response.durable().progress()) {
        outbox_.MarkDurable(progress);
      }
      return;
    case api::v1::RecordResponse::kSlowDown:
      paused_until_ =
          Now() + std::min(absl::Milliseconds(response.slow_down().pause_ms()),
                           limits::kSlowDownMax);
      return;
    case api::v1::RecordResponse::kDraining:
      draining_ = true;
      return;
    case api::v1::RecordResponse::kSideFailed: {
      const api::v1::Side side = response.side_failed().side();
      const absl::Status status =
          base::FromRpcStatus(response.side_failed().status());
      side_failures_[side] =
          status.ok() ? absl::UnknownError("the archive refuses the side")
                      : status;
      outbox_.RemoveSide(side);
      if (outbox_.empty()) Fail(side_failures_[side]);
      return;
    }
    case api::v1::RecordResponse::kReceipt:
      receipt_ = response.receipt();
      done_ = true;
      if (!close_sent_) {
        // Closed before we came back: what it has is all it will ever have.
        for (const api::v1::SideTotals& side : receipt_.sides()) {
          outbox_.Conclude(side.side(), side.final_sequence());
        }
      }
      spool_keep_ = !close_sent_ && !outbox_.all_durable();
      return;
    default:
      return;
  }
}

std::unique_ptr<GatewaySession> GatewaySession::Start(SessionOptions options) {
  return std::make_unique<StreamingSession>(std::move(options));
}

}  // namespace diptych::gateway
