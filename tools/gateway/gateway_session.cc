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
#include "proto/api/v1/ingest.grpc.pb.h"
#include "tools/gateway/outbox.h"

namespace diptych::gateway {
namespace {

using Stream =
    grpc::ClientReaderWriter<api::v1::RecordRequest, api::v1::RecordResponse>;

absl::Duration Now() { return base::Clock::Real()->Monotonic(); }

// May the same stream succeed if it is made again? `resuming`: the archive knew
// the session before.
bool IsWorthRetrying(const absl::Status& status, bool resuming) {
  const auto detail = base::GetErrorDetail(status);
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

class StreamingSession : public GatewaySession {
 public:
  explicit StreamingSession(SessionOptions options)
      : options_(std::move(options)), outbox_(options_.sides) {
    runner_ = std::thread([this] { Run(); });
  }

  ~StreamingSession() override {
    Abort();
    runner_.join();
  }

  absl::Status WaitUntilOpen() override;
  absl::Status SendPacket(api::v1::Side side, api::v1::Packet packet) override;
  absl::Status SendNote(api::v1::Side side, api::v1::Note note) override;
  absl::Status ChangeTracks(api::v1::Side side,
                            const std::vector<api::v1::Track>& tracks) override;
  absl::StatusOr<api::v1::Receipt> Close(absl::Duration timeout) override;
  void Abort() override;
  absl::Status side_status(api::v1::Side side) const override;
  api::v1::SideProgress durable(api::v1::Side side) const override;

 private:
  // ---- On the runner's thread ----
  void Run();
  // One stream from its beginning to its end. OK once the session is done.
  absl::Status RunStream();
  void ReadAll(Stream* stream);
  void WriteAll(Stream* stream, grpc::ClientContext* context);
  bool WaitForOpened(grpc::ClientContext* context);
  std::optional<api::v1::RecordRequest> NextRequest()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  api::v1::RecordRequest CloseRequest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration WakeAt() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsStalled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WaitUntil(absl::Duration time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Backoff(int attempt, absl::Duration deadline);

  // ---- On the reader's thread ----
  void Handle(const api::v1::RecordResponse& response);
  void HandleLocked(const api::v1::RecordResponse& response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Why nothing more can be sent for `side`; OK if it can.
  absl::Status WhyStopped(api::v1::Side side) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WaitForRoom(api::v1::Side side)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SessionOptions options_;
  mutable base::Mutex mutex_;
  // Anything below changed.
  base::CondVar changed_;
  Outbox outbox_ ABSL_GUARDED_BY(mutex_);
  // Of the whole session.
  std::optional<absl::Status> failed_ ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, absl::Status> side_failures_ ABSL_GUARDED_BY(mutex_);
  bool aborted_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  bool ever_opened_ ABSL_GUARDED_BY(mutex_) = false;
  api::v1::Receipt receipt_ ABSL_GUARDED_BY(mutex_);

  // Of the present stream.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool close_sent_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration paused_until_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_heard_ ABSL_GUARDED_BY(mutex_);

  std::thread runner_;
};

absl::Status StreamingSession::WaitUntilOpen() {
  base::MutexLock lock(&mutex_);
  while (!ever_opened_ && !done_ && !failed_.has_value()) {
    changed_.Wait(&mutex_);
  }
  return failed_.value_or(absl::OkStatus());
}

absl::Status StreamingSession::WhyStopped(api::v1::Side side) const {
  if (failed_.has_value()) return *failed_;
  if (done_) return absl::FailedPreconditionError("the session is closed");
  const auto found = side_failures_.find(side);
  return found == side_failures_.end() ? absl::OkStatus() : found->second;
}

absl::Status StreamingSession::WaitForRoom(api::v1::Side side) {
  while (true) {
    if (absl::Status status = WhyStopped(side); !status.ok()) return status;
    if (outbox_.kept_bytes() < options_.buffer_bytes) return absl::OkStatus();
    changed_.Wait(&mutex_);
  }
}

absl::Status StreamingSession::SendPacket(api::v1::Side side,
                                          api::v1::Packet packet) {
  base::MutexLock lock(&mutex_);
  if (absl::Status status = WaitForRoom(side); !status.ok()) return status;
  outbox_.AddPacket(side, std::move(packet), Now());
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status StreamingSession::SendNote(api::v1::Side side,
                                        api::v1::Note note) {
  base::MutexLock lock(&mutex_);
  if (absl::Status status = WaitForRoom(side); !status.ok()) return status;
  const absl::Status added = outbox_.AddNote(side, std::move(note));
  changed_.NotifyAll();
  return added;
}

absl::Status StreamingSession::ChangeTracks(
    api::v1::Side side, const std::vector<api::v1::Track>& tracks) {
  base::MutexLock lock(&mutex_);
  if (absl::Status status = WhyStopped(side); !status.ok()) return status;
  outbox_.AddTracks(side, tracks);
  return absl::OkStatus();
}

absl::StatusOr<api::v1::Receipt> StreamingSession::Close(
    absl::Duration timeout) {
  const absl::Duration deadline = Now() + timeout;
  base::MutexLock lock(&mutex_);
  closing_ = true;
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

void StreamingSession::Run() {
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
        attempt = 0;
        deadline = Now() + options_.reconnect_timeout;
      }
      if (Now() >= deadline) {
        Fail(status);
        return;
      }
    }
    if (broke && options_.on_broken) options_.on_broken(status);
    if (!Backoff(attempt++, deadline)) return;
  }
}

bool StreamingSession::Backoff(int attempt, absl::Duration deadline) {
  absl::Duration pause =
      std::min(options_.reconnect_min * (1 << std::min(attempt, 16)),
               options_.reconnect_max);
  // So that many gateways do not come back at one moment.
  std::random_device random;
  pause *= std::uniform_real_distribution<double>(0.5, 1.0)(random);
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
    last_heard_ = Now();
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
  if (stream->Write(open) && WaitForOpened(&context)) {
    WriteAll(stream.get(), &context);
  }
  reader.join();
  const absl::Status status = base::FromGrpcStatus(stream->Finish());

  base::MutexLock lock(&mutex_);
  context_ = nullptr;
  // Another stream gets the receipt.
  if (status.ok() && close_sent_ && outbox_.kept_bytes() == 0) done_ = true;
  changed_.NotifyAll();
  if (done_) return absl::OkStatus();
  if (status.ok())
    return absl::UnavailableError("the archive ended the stream");
  // Cancelled by nobody but us, for want of an answer.
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
  return opened_ && !ended_;
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
  auto request = outbox_.NextMessage(Now(), /*flush=*/closing_);
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
  const bool waiting = outbox_.kept_bytes() > 0 || close_sent_ || draining_;
  return waiting && Now() > last_heard_ + limits::kStreamStall;
}

absl::Duration StreamingSession::WakeAt() const {
  // Short of the stall by nothing, so that it is noticed when it is there.
  absl::Duration wake = Now() + limits::kStreamStall;
  if (Now() < paused_until_) return std::min(wake, paused_until_);
  if (draining_ || close_sent_) return wake;
  if (const auto batch = outbox_.NextDeadline()) wake = std::min(wake, *batch);
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
      return;
    default:
      return;
  }
}

}  // namespace

std::unique_ptr<GatewaySession> GatewaySession::Start(SessionOptions options) {
  return std::make_unique<StreamingSession>(std::move(options));
}

}  // namespace diptych::gateway
