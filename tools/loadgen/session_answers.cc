#include <algorithm>
#include <cstdint>
#include <random>
#include <string>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/loadgen/load_call.h"
#include "tools/loadgen/streamed_session.h"

namespace diptych::loadgen {
namespace {

// Doublings of the pause between attempts that are counted.
constexpr int kMaxDoublings = 16;

int64_t NowUs() {
  return absl::ToInt64Microseconds(base::Clock::Real()->Monotonic());
}

// May another attempt fare better?
bool IsWorthRetrying(const absl::Status& status, bool resuming) {
  const auto detail = base::GetErrorDetail(status);
  if (detail.has_value()) {
    return detail->retryable() ||
           (resuming && detail->reason() == "SIDE_CONFLICT");
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

}  // namespace

void StreamedSession::NoteEnd() {
  const bool over = std::all_of(
      lanes_.begin(), lanes_.end(),
      [](const Lane& lane) { return lane.done && lane.call == nullptr; });
  if (!over || ended_) return;
  if (!failed_) context_.report->Add({.sessions_finished = 1});
  ended_ = true;
}

StreamedSession::Lane* StreamedSession::LaneOf(const LoadCall* call) {
  for (Lane& lane : lanes_) {
    if (lane.call == call) return &lane;
  }
  return nullptr;
}

void StreamedSession::OnSent(LoadCall* call, bool ok) {
  base::MutexLock lock(&mutex_);
  Lane* const lane = LaneOf(call);
  if (lane == nullptr) return;
  // Stays set after a failure: the stream's end follows.
  lane->sending = !ok;
  RunLanes(NowUs());
}

void StreamedSession::OnInputEnd(LoadCall* call) {
  base::MutexLock lock(&mutex_);
  Lane* const lane = LaneOf(call);
  if (lane != nullptr) lane->input_ended = true;
}

void StreamedSession::OnResponse(LoadCall* call,
                                 const api::v1::RecordResponse& response) {
  const int64_t now_us = NowUs();
  base::MutexLock lock(&mutex_);
  Lane* const lane = LaneOf(call);
  if (lane == nullptr) return;
  lane->heard_us = now_us;
  switch (response.message_case()) {
    case api::v1::RecordResponse::kOpened:
      if (lane->opened) Violation("a stream was opened twice");
      for (const auto& progress : response.opened().progress()) {
        HandleProgress(lane, progress, /*opening=*/true, now_us);
      }
      for (const size_t i : lane->sides) sides_[i].notes_said = 0;
      if (!opened_once_) context_.report->Add({.sessions_opened = 1});
      if (opened_once_ && !response.opened().resumed() && lane->ever_opened) {
        Violation("a session that was open is not known any more");
      }
      opened_once_ = lane->opened = lane->ever_opened = true;
      lane->attempt = 0;
      break;
    case api::v1::RecordResponse::kDurable:
      context_.report->Add({.acknowledgements = 1});
      for (const auto& progress : response.durable().progress()) {
        HandleProgress(lane, progress, /*opening=*/false, now_us);
      }
      break;
    case api::v1::RecordResponse::kKeyframeWanted:
      context_.report->Add({.keyframes_wanted = 1});
      break;
    case api::v1::RecordResponse::kSlowDown:
      context_.report->Add({.slow_downs = 1});
      lane->paused_until_us =
          now_us + std::min(int64_t{response.slow_down().pause_ms()} * 1000,
                            absl::ToInt64Microseconds(limits::kSlowDownMax));
      break;
    case api::v1::RecordResponse::kDraining:
      context_.report->Add({.drainings = 1});
      lane->draining = true;
      break;
    case api::v1::RecordResponse::kSideFailed:
      Violation(absl::StrCat(
          "a side was refused: ",
          base::FromRpcStatus(response.side_failed().status()).ToString()));
      break;
    case api::v1::RecordResponse::kReceipt:
      HandleReceipt(response.receipt(), now_us);
      for (Lane& other : lanes_) other.done = true;
      break;
    default:
      break;
  }
  RunLanes(now_us);
}

void StreamedSession::HandleProgress(Lane* lane,
                                     const api::v1::SideProgress& progress,
                                     bool opening, int64_t now_us) {
  for (const size_t i : lane->sides) {
    if (context_.recording->sides()[i].side != progress.side()) continue;
    Side& side = sides_[i];
    const std::string where =
        absl::StrCat("session ", plan_.id, " side ", progress.side(), ": ",
                     progress.sequence());
    // On another stream a receipt may have overtaken what this one still says.
    const uint64_t promised = opening ? side.durable : side.told;
    if (progress.sequence() < promised ||
        progress.note_sequence() < side.notes_durable) {
      Violation(
          absl::StrCat(where, " after ", promised, " had been called durable"));
      return;
    }
    if (progress.sequence() > side.sent ||
        progress.note_sequence() > side.notes.size()) {
      Violation(absl::StrCat(where, " is durable, but only ", side.sent,
                             " were sent"));
      return;
    }
    side.notes_durable = progress.note_sequence();
    side.told = progress.sequence();
    MarkDurable(i, progress.sequence(), now_us);
    if (!opening) return;
    side.next = progress.sequence() + 1;
    for (Timed& timed : side.timed) timed.again = true;
    return;
  }
  Violation("an answer is about a side of another stream");
}

void StreamedSession::MarkDurable(size_t index, uint64_t sequence,
                                  int64_t now_us) {
  Side& side = sides_[index];
  if (sequence <= side.durable) return;
  const Recording& recording = *context_.recording;
  if (context_.ledger != nullptr) {
    context_.ledger->Acknowledged(plan_.id, recording.sides()[index].side,
                                  side.durable + 1, sequence);
  }
  context_.report->Add(
      {.packets_durable = sequence - side.durable,
       .bytes_durable = recording.BytesThrough(index, sequence) -
                        recording.BytesThrough(index, side.durable)});
  while (!side.timed.empty()) {
    Timed& timed = side.timed.front();
    // What of this message is not through yet stays.
    const uint64_t left =
        timed.last_sequence > sequence
            ? std::min(timed.last_sequence - sequence, timed.packets)
            : 0;
    if (timed.packets > left) {
      context_.report->AddLatency(now_us - timed.sent_us, timed.packets - left,
                                  timed.again);
    }
    timed.packets = left;
    if (left > 0) break;
    side.timed.pop_front();
  }
  side.durable = sequence;
}

void StreamedSession::HandleReceipt(const api::v1::Receipt& receipt,
                                    int64_t now_us) {
  if (receipt_seen_) return;
  receipt_seen_ = true;
  const Recording& recording = *context_.recording;
  if (receipt.session_id() != plan_.id ||
      receipt.state() != api::v1::SESSION_STATE_CLOSED) {
    Violation(absl::StrCat("the receipt of ", plan_.id, " is for ",
                           receipt.session_id(), " in state ",
                           receipt.state()));
  }
  for (size_t i = 0; i < sides_.size(); ++i) {
    Side& side = sides_[i];
    const api::v1::SideTotals* totals = nullptr;
    for (const api::v1::SideTotals& of : receipt.sides()) {
      if (of.side() == recording.sides()[i].side) totals = &of;
    }
    if (totals == nullptr || totals->final_sequence() != side.final ||
        totals->packets() != side.final ||
        totals->payload_bytes() != recording.BytesThrough(i, side.final)) {
      Violation(absl::StrCat("the receipt of ", plan_.id,
                             " has other totals than were sent"));
      continue;
    }
    MarkDurable(i, side.final, now_us);
  }
  if (context_.ledger != nullptr) {
    context_.ledger->Closed(plan_.id, sides_[0].final, sides_[1].final);
  }
}

void StreamedSession::OnEnd(const LoadCall* call,
                            const grpc::Status& grpc_status,
                            std::shared_ptr<grpc::Channel> channel) {
  const int64_t now_us = NowUs();
  const absl::Status status = base::FromGrpcStatus(grpc_status);
  base::MutexLock lock(&mutex_);
  Lane* const lane = LaneOf(call);
  if (lane == nullptr) return;
  lane->call = nullptr;
  lane->sending = false;
  const bool reached = status.ok() || base::GetErrorDetail(status).has_value();
  // Also if it was given up for want of an answer: nobody may be at the other
  // end of the connection any more.
  context_.channels->Return(
      index_ * lanes_.size() + static_cast<size_t>(lane - lanes_.data()),
      std::move(channel), /*failed=*/!reached && !lane->done);
  // The other stream gets the receipt.
  if (status.ok() && lane->close_sent) lane->done = true;
  if (lane->done || failed_) {
    lane->done = true;
    return RunLanes(now_us);
  }
  const auto detail = base::GetErrorDetail(status);
  const bool refused = status.code() == absl::StatusCode::kResourceExhausted;
  if (!IsWorthRetrying(status, opened_once_)) {
    Fail(status.ToString());
    return RunLanes(now_us);
  }
  context_.report->Add({.reconnects = lane->opened ? 1U : 0U,
                        .failed_attempts = lane->opened || refused ? 0U : 1U,
                        .refused = refused ? 1U : 0U});
  const int64_t hint_us =
      detail.has_value() ? int64_t{detail->retry_after_ms()} * 1000 : 0;
  RetryLater(lane, hint_us, now_us);
  RunLanes(now_us);
}

void StreamedSession::RetryLater(Lane* lane, int64_t at_least_us,
                                 int64_t now_us) {
  const absl::Duration pause = std::min(
      context_.reconnect_min * (1 << std::min(lane->attempt++, kMaxDoublings)),
      context_.reconnect_max);
  const double part = std::uniform_real_distribution<double>(0.5, 1)(random_);
  lane->retry_at_us =
      now_us + std::max(at_least_us, absl::ToInt64Microseconds(pause * part));
}

void StreamedSession::EndEarly() {
  base::MutexLock lock(&mutex_);
  for (Side& side : sides_) side.final = std::min(side.final, side.sent);
  if (!begun_) {
    for (Lane& lane : lanes_) lane.done = true;
  }
  RunLanes(NowUs());
}

void StreamedSession::Abort() {
  base::MutexLock lock(&mutex_);
  for (Lane& lane : lanes_) {
    lane.done = true;
    Cancel(&lane);
  }
  failed_ = true;
  RunLanes(NowUs());
}

void StreamedSession::Violation(const std::string& what) {
  context_.report->AddViolation(what);
}

void StreamedSession::Fail(const std::string& why) {
  context_.report->Add({.sessions_failed = 1});
  context_.report->AddProblem(absl::StrCat("session ", plan_.id, ": ", why));
  failed_ = true;
  for (Lane& lane : lanes_) {
    lane.done = true;
    Cancel(&lane);
  }
}

}  // namespace diptych::loadgen
