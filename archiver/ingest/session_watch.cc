#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_state.h"
#include "archiver/ingest/session_writer.h"
#include "archiver/log/record.h"
#include "archiver/media/interleaver.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

// What goes on beside the packets: who is missing, what is asked of gateways,
// how they are held back, and how a session is drained.

namespace diptych::ingest {

using log::Record;

void Session::Tick() {
  base::MutexLock lock(&mutex_);
  if (state_ == State::kOpen) Cut(/*all=*/false);
  ResumeParked();
  WatchSides();
  const bool alone =
      std::all_of(sides_.begin(), sides_.end(), [](const SideState& state) {
        return state.sink == nullptr || state.ended;
      });
  if (state_ == State::kOpen && alone && !draining_ &&
      context_->clock->Monotonic() - last_activity_ > limits::kAbandonAfter) {
    Cut(/*all=*/true);
    BeginClose(stored::v1::CLOSE_REASON_ABANDONED);
  }
}

void Session::WatchSides() {
  if (state_ != State::kOpen || draining_) return;
  const absl::Duration now = context_->clock->Monotonic();
  std::vector<stored::v1::SideTrouble> troubles;
  for (const stored::v1::Side s : kSides) {
    SideState& state = side(s);
    if (state.ended) continue;
    // One that is held back, or not let in yet, can't send.
    const bool waits = state.sink != nullptr && !state.told;
    if (waits || parked_.contains(state.sink)) state.last_heard = now;
    if (now - state.last_heard < limits::kSideStalled) continue;
    stored::v1::SideTrouble& trouble = troubles.emplace_back();
    trouble.set_side(s);
    trouble.set_trouble(state.received == 0 ? stored::v1::TROUBLE_MISSING
                                            : stored::v1::TROUBLE_STALLED);
    trouble.set_since_us(coverage_.covered_until_us(s).value_or(0));
  }
  if (SameTroubles(troubles, troubles_)) return;
  ChangeState(troubles.empty() ? stored::v1::SESSION_STATE_RECOVERED
                               : stored::v1::SESSION_STATE_DEGRADED,
              std::move(troubles));
}

void Session::ChangeState(stored::v1::SessionState state,
                          std::vector<stored::v1::SideTrouble> troubles) {
  troubles_ = std::move(troubles);
  // Without media no manifest could name them all.
  if (!writer_->HasRoomForRecords()) return;
  std::vector<Record> records;
  records.push_back(
      MakeStateRecord({.session_id = id_,
                       .epoch = writer_->epoch(),
                       .state = state,
                       .troubles = troubles_,
                       .start_time_us = start_time_us_,
                       .now_us = absl::ToUnixMicros(context_->clock->Now())}));
  writer_->TakeAccountOf(records.back());
  Commit(std::move(records), 0);
}

void Session::AskForKeyFrames(int64_t now_us) {
  for (auto& [track_id, state] : tracks_) {
    const SideState& of_track = side(state.side);
    if (!state.video || !state.started || of_track.sink == nullptr) continue;
    // One that began without a key frame wants one at once.
    const bool wanted =
        !state.last_key_pts_us.has_value() ||
        now_us - *state.last_key_pts_us > limits::kSegmentMax_us;
    const bool asked =
        state.key_asked_at_us.has_value() &&
        now_us - *state.key_asked_at_us <= limits::kSegmentMax_us;
    if (!wanted || asked) continue;
    state.key_asked_at_us = now_us;
    api::v1::RecordResponse response;
    response.mutable_keyframe_wanted()->set_track_id(track_id);
    of_track.sink->Send(std::move(response));
  }
}

void Session::AskToSlowDown() {
  const bool much = undurable_bytes_ > limits::kSlowDownAbove_bytes ||
                    context_->undurable_bytes.load(std::memory_order_relaxed) >
                        limits::kAdmissionUndurable_bytes;
  const absl::Duration now = context_->clock->Monotonic();
  if (!much || now - last_slow_down_ < limits::kSlowDownEvery) return;
  last_slow_down_ = now;
  for (const auto& sink : Sinks()) {
    api::v1::RecordResponse response;
    response.mutable_slow_down()->set_pause_ms(static_cast<uint32_t>(
        absl::ToInt64Milliseconds(limits::kSlowDownPause)));
    sink->Send(std::move(response));
  }
}

bool Session::ReadyForMore(const std::shared_ptr<StreamSink>& sink) {
  base::MutexLock lock(&mutex_);
  AskToSlowDown();
  if (HasRoom()) return true;
  parked_.insert(sink);
  return false;
}

bool Session::HasRoom() const {
  // Before its keys are durable and it is open, a session takes nothing.
  return state_ != State::kOpening &&
         undurable_bytes_ < limits::kMaxUndurablePerSession_bytes &&
         context_->undurable_bytes.load(std::memory_order_relaxed) <
             limits::kMaxUndurable_bytes;
}

void Session::ResumeParked() {
  if (parked_.empty() || !HasRoom()) return;
  const std::set<std::shared_ptr<StreamSink>> parked = std::move(parked_);
  parked_.clear();
  for (const auto& sink : parked) sink->Resume();
}

void Session::Drain() {
  base::MutexLock lock(&mutex_);
  if (draining_) return;
  if (state_ == State::kOpening) {
    // Nothing has been taken yet, so there is nothing to wait for.
    draining_ = true;
    for (const auto& sink : Sinks()) sink->Finish(ingest::Draining());
    return;
  }
  if (state_ != State::kOpen) return;
  Cut(/*all=*/true);
  std::vector<Record> records;
  if (state_ == State::kOpen) writer_->EndSegment(&records);
  Commit(std::move(records), 0);
  draining_ = true;
  for (const auto& sink : Sinks()) {
    api::v1::RecordResponse response;
    response.mutable_draining();
    sink->Send(std::move(response));
    const absl::Status submitted = context_->log->Submit(
        {}, [sink](const auto&) { sink->Finish(ingest::Draining()); });
    if (!submitted.ok()) sink->Finish(ingest::Draining());
  }
}

bool Session::drained() const {
  base::MutexLock lock(&mutex_);
  return commits_in_flight_ == 0 && interleaver_.empty();
}

bool Session::failed() const {
  base::MutexLock lock(&mutex_);
  return state_ == State::kFailed;
}

bool Session::settled() const {
  base::MutexLock lock(&mutex_);
  return commits_in_flight_ == 0;
}

std::set<std::shared_ptr<StreamSink>> Session::Sinks() const {
  std::set<std::shared_ptr<StreamSink>> sinks;
  for (const SideState& state : sides_) {
    if (state.sink != nullptr) sinks.insert(state.sink);
  }
  return sinks;
}

void Session::AddUndurable(size_t bytes) {
  undurable_bytes_ += bytes;
  context_->undurable_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void Session::ReleaseUndurable(size_t bytes) {
  undurable_bytes_ -= bytes;
  context_->undurable_bytes.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace diptych::ingest
