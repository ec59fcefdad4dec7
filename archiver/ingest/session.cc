#include "archiver/ingest/session.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/util/time_util.h>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/request_check.h"
#include "archiver/ingest/session_writer.h"
#include "archiver/ingest/stored_form.h"
#include "archiver/log/record.h"
#include "archiver/media/canonical.h"
#include "archiver/media/interleaver.h"
#include "archiver/seal/session_sealer.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

using log::Record;
using log::RecordType;

}  // namespace

Session::Session(SessionContext* context, const base::Uuid& id,
                 std::function<void(const base::Uuid&)> on_closed)
    : context_(context),
      id_(id),
      on_closed_(std::move(on_closed)),
      source_check_(context->archive, id) {}

absl::StatusOr<std::shared_ptr<Session>> Session::Create(
    SessionContext* context, const base::Uuid& id, int64_t start_time_us,
    const std::string& gateway, const UnfinishedSession* before,
    std::function<void(const base::Uuid&)> on_closed) {
  // The constructor is private, which std::make_shared can't reach.
  std::shared_ptr<Session> session =
      absl::WrapUnique(new Session(context, id, std::move(on_closed)));
  RETURN_IF_ERROR(session->Start(start_time_us, gateway, before));
  return session;
}

absl::Status Session::Start(int64_t start_time_us, const std::string& gateway,
                            const UnfinishedSession* unfinished) {
  const stored::v1::OpenSession* const before =
      unfinished == nullptr ? nullptr : &unfinished->session;
  const int64_t now_us = absl::ToUnixMicros(context_->clock->Now());
  SessionWriter::Start start;
  start.session_id = id_;
  // A number that no earlier epoch of this session had, even if the clock went
  // back or the session was forgotten in between.
  start.epoch = static_cast<uint64_t>(now_us);
  uint32_t first_segment = 0;
  base::MutexLock lock(&mutex_);
  last_activity_ = context_->clock->Monotonic();
  start_time_us_ = start_time_us;
  if (before != nullptr) {
    resumed_ = true;
    start_time_us_ = before->start_time_us();
    start.epoch = std::max(start.epoch, before->epoch() + 1);
    start.next_span = before->next_span();
    start.next_chunk = before->next_chunk();
    start.manifest_sha256 = before->manifest_sha256();
    start.unnamed_records = unfinished->unnamed_records;
    first_segment = before->next_segment();
    for (const stored::v1::SideTotals& totals : before->sides()) {
      SideState& state = side(totals.side());
      state.totals = totals;
      state.received = state.durable = totals.last_sequence();
      state.received_before = state.received;
      state.notes_received = state.notes_durable = totals.last_note();
      // Its gateway will be back: nobody may close the session without it.
      state.opened = state.received > 0 || state.notes_received > 0;
      if (totals.packets() > 0) {
        coverage_.Restore(totals.side(), totals.end_us());
      }
    }
    for (const stored::v1::ClockChanged& clock : before->clocks()) {
      // One whose first packet the crash took never came to hold.
      if (clock.first_sequence() > side(clock.side()).received) continue;
      TrackState& track = tracks_[clock.track_id()];
      track.side = clock.side();
      track.clock.Restore(clock);
    }
    recovered_ = true;
  }
  for (const stored::v1::Side s : kSides) {
    side(s).totals.set_side(s);
    side(s).last_heard = last_activity_;
  }
  ASSIGN_OR_RETURN(seal::SessionSealer sealer,
                   seal::SessionSealer::Create(*context_->archive, id_,
                                               start.epoch, first_segment));
  stored::v1::KeyWraps key_header;
  key_header.set_session_id(std::string(id_.bytes()));
  key_header.set_epoch(start.epoch);
  Record wraps = {RecordType::kKeyWraps, key_header.SerializeAsString(),
                  sealer.wraps().SerializeAsString()};
  stored::v1::SessionOpened opened;
  opened.set_session_id(std::string(id_.bytes()));
  opened.set_epoch(start.epoch);
  opened.set_start_time_us(start_time_us_);
  opened.set_record_time_us(now_us);
  opened.set_gateway(gateway);
  opened.set_resumed(resumed_);
  opened.set_key_wraps_digest(
      evidence::RecordDigest(wraps.type, wraps.header, wraps.body));
  writer_.emplace(std::move(start), std::move(sealer), context_->clock);
  ++commits_in_flight_;
  // If it can't be queued the session is not made at all.
  return context_->key_store->Submit(
      {std::move(wraps)},
      [self = shared_from_this(), opened = std::move(opened)](
          const absl::StatusOr<std::vector<log::Position>>& positions) {
        if (positions.ok()) {
          self->OnKeysDurable(positions->front(), opened);
        } else {
          self->OnKeysDurable(positions.status(), opened);
        }
      });
}

void Session::OnKeysDurable(const absl::StatusOr<log::Position>& key_position,
                            stored::v1::SessionOpened opened) {
  base::MutexLock lock(&mutex_);
  --commits_in_flight_;
  if (!key_position.ok()) return Fail(StorageFailed());
  opened.set_key_position(*key_position);
  Record record = {RecordType::kSessionOpened, opened.SerializeAsString(), ""};
  writer_->TakeAccountOf(record);
  ++commits_in_flight_;
  const absl::Status submitted = context_->log->Submit(
      {std::move(record)},
      [self = shared_from_this()](
          const absl::StatusOr<std::vector<log::Position>>& positions) {
        self->OnOpenedDurable(positions.status());
      });
  if (!submitted.ok()) {
    --commits_in_flight_;
    Fail(submitted);
  }
}

void Session::OnOpenedDurable(const absl::Status& status) {
  base::MutexLock lock(&mutex_);
  --commits_in_flight_;
  if (!status.ok()) return Fail(StorageFailed());
  if (state_ != State::kOpening) return;
  state_ = State::kOpen;
  if (recovered_) {
    recovered_ = false;
    ChangeState(stored::v1::SESSION_STATE_RECOVERED, {});
  }
  for (const auto& sink : Sinks()) SendOpened(sink);
  ResumeParked();
}

void Session::SendOpened(const std::shared_ptr<StreamSink>& sink) {
  api::v1::RecordResponse response;
  api::v1::Opened* opened = response.mutable_opened();
  opened->set_resumed(resumed_);
  *opened->mutable_start_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(start_time_us_);
  for (const stored::v1::Side s : kSides) {
    SideState& state = side(s);
    if (state.sink != sink) continue;
    state.told = true;
    api::v1::SideProgress* progress = opened->add_progress();
    progress->set_side(ToWire(s));
    progress->set_sequence(state.durable);
    progress->set_note_sequence(state.notes_durable);
  }
  sink->Send(std::move(response));
}

absl::Status Session::CheckUsable() const {
  if (state_ == State::kFailed) return failure_;
  if (state_ == State::kClosing || state_ == State::kClosed) {
    return SessionClosed();
  }
  if (draining_) return ingest::Draining();
  return absl::OkStatus();
}

absl::Status Session::Attach(const std::shared_ptr<StreamSink>& sink,
                             const api::v1::Open& open) {
  base::MutexLock lock(&mutex_);
  if (state_ == State::kClosing || state_ == State::kClosed) {
    // In a moment the log has the receipt for whoever asks again.
    return Settling();
  }
  RETURN_IF_ERROR(CheckUsable());
  for (const api::v1::OpenSide& wanted : open.sides()) {
    const stored::v1::Side s = ToStored(wanted.side());
    for (const api::v1::Track& track : wanted.tracks()) {
      const auto known = tracks_.find(track.track_id());
      if (known != tracks_.end() && known->second.side != s) {
        return BadOpen(absl::StrCat("track ", track.track_id(),
                                    " belongs to the other side"));
      }
    }
  }
  last_activity_ = context_->clock->Monotonic();
  resumed_ = resumed_ || side(kSides[0]).opened || side(kSides[1]).opened;
  if (state_ == State::kOpen) {
    // What came of older streams lies ahead of whatever this one brings.
    Cut(/*all=*/true);
    RETURN_IF_ERROR(failure_);
  }
  std::map<std::shared_ptr<StreamSink>, std::vector<api::v1::Side>> lost;
  for (const api::v1::OpenSide& wanted : open.sides()) {
    const stored::v1::Side s = ToStored(wanted.side());
    SideState& state = side(s);
    if (state.sink != nullptr && state.sink != sink) {
      lost[state.sink].push_back(wanted.side());
    }
    state.opened = true;
    state.ended = false;
    state.sink = sink;
    state.told = false;
    state.last_heard = last_activity_;
    coverage_.Interrupt(s);
    RETURN_IF_ERROR(SetSideTracks(s, wanted));
  }
  for (const auto& [older, sides] : lost) {
    if (Sinks().contains(older)) {
      // Its other side is not touched.
      for (const api::v1::Side s : sides) older->FailSide(s, SideTakenOver(s));
    } else {
      parked_.erase(older);
      older->Finish(TakenOver());
    }
  }
  if (state_ != State::kOpen) return absl::OkStatus();
  // The gateway may have forgotten what an earlier stream of its sent, so it is
  // told when all of that is durable.
  const absl::Status queued = QueueOpened();
  if (!queued.ok()) {
    for (SideState& state : sides_) {
      if (state.sink == sink) state.sink = nullptr;
    }
  }
  return queued;
}

absl::Status Session::QueueOpened() {
  // One at a time, however often gateways come back to a disk that is stuck.
  opened_wanted_ = true;
  if (opened_queued_) return absl::OkStatus();
  opened_wanted_ = false;
  const absl::Status submitted =
      context_->log->Submit({}, [self = shared_from_this()](const auto& done) {
        base::MutexLock lock(&self->mutex_);
        self->opened_queued_ = false;
        if (!done.ok()) return self->Fail(StorageFailed());
        if (self->state_ != State::kOpen) return;
        if (self->opened_wanted_) {
          const absl::Status again = self->QueueOpened();
          if (!again.ok()) self->Fail(again);
          return;
        }
        for (const auto& sink : self->Sinks()) {
          const bool told = std::all_of(
              self->sides_.begin(), self->sides_.end(),
              [&](const SideState& s) { return s.sink != sink || s.told; });
          if (!told) self->SendOpened(sink);
        }
      });
  opened_queued_ = submitted.ok();
  return submitted;
}

std::set<api::v1::Side> Session::SidesOf(
    const std::shared_ptr<StreamSink>& sink) const {
  base::MutexLock lock(&mutex_);
  std::set<api::v1::Side> carried;
  for (size_t i = 0; i < kSides.size(); ++i) {
    if (sides_[i].sink == sink) carried.insert(ToWire(kSides[i]));
  }
  return carried;
}

absl::Status Session::SetSideTracks(stored::v1::Side s,
                                    const api::v1::OpenSide& wanted) {
  SideState& state = side(s);
  if (!state.tracks.empty() &&
      std::equal(state.tracks.begin(), state.tracks.end(),
                 wanted.tracks().begin(), wanted.tracks().end(), SameTrack)) {
    return absl::OkStatus();
  }
  // What came under the old tracks belongs to the old span.
  Cut(/*all=*/true);
  RETURN_IF_ERROR(failure_);
  for (const api::v1::Track& track : state.tracks) {
    const bool stays =
        std::any_of(wanted.tracks().begin(), wanted.tracks().end(),
                    [&](const api::v1::Track& t) {
                      return t.track_id() == track.track_id();
                    });
    if (!stays) coverage_.RemoveTrack(track.track_id());
  }
  state.tracks.assign(wanted.tracks().begin(), wanted.tracks().end());
  for (const api::v1::Track& track : state.tracks) {
    TrackState& known = tracks_[track.track_id()];
    known.side = s;
    known.video = media::IsVideo(track.codec());
    coverage_.AddTrack(s, track.track_id());
  }
  span_stale_ = true;
  return absl::OkStatus();
}

void Session::Detach(const std::shared_ptr<StreamSink>& sink,
                     std::optional<absl::Status> tell) {
  base::MutexLock lock(&mutex_);
  parked_.erase(sink);
  const bool attached =
      std::any_of(sides_.begin(), sides_.end(),
                  [&](const SideState& state) { return state.sink == sink; });
  if (attached && state_ == State::kOpen) {
    // Nobody will come to complete the chunk; do not let it wait.
    Cut(/*all=*/true);
    if (tell.has_value()) {
      // From the commits' callbacks, so that its last acknowledgement comes
      // first. The stream's end detaches it then.
      const absl::Status submitted = context_->log->Submit(
          {}, [sink, tell](const auto&) { sink->Finish(*tell); });
      if (submitted.ok()) return;
    }
  }
  for (SideState& state : sides_) {
    if (state.sink == sink) state.sink = nullptr;
  }
  if (tell.has_value()) sink->Finish(*tell);
}

absl::Status Session::OnTracksChanged(const std::shared_ptr<StreamSink>& sink,
                                      const api::v1::OpenSide& wanted) {
  base::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckUsable());
  ASSIGN_OR_RETURN(const stored::v1::Side s, SideOfSink(sink, wanted.side()));
  for (const api::v1::Track& track : wanted.tracks()) {
    const auto known = tracks_.find(track.track_id());
    if (known != tracks_.end() && known->second.side != s) {
      return BadOpen(absl::StrCat("track ", track.track_id(),
                                  " belongs to the other side"));
    }
  }
  return SetSideTracks(s, wanted);
}

absl::Status Session::OnClose(const std::shared_ptr<StreamSink>& sink,
                              const api::v1::Close& close,
                              const std::set<api::v1::Side>& failed) {
  base::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckUsable());
  for (const api::v1::CloseSide& wanted : close.sides()) {
    SideState& state = side(ToStored(wanted.side()));
    if (failed.contains(wanted.side())) {
      if (state.sink == sink) state.declared = wanted.final_sequence();
      continue;
    }
    RETURN_IF_ERROR(SideOfSink(sink, wanted.side()).status());
    state.declared = wanted.final_sequence();
    if (wanted.final_sequence() != state.received) {
      return CloseMismatch(wanted.side(), wanted.final_sequence(),
                           state.received);
    }
    if (wanted.final_note_sequence() != state.notes_received) {
      return CloseMismatch(wanted.side(), wanted.final_note_sequence(),
                           state.notes_received);
    }
  }
  for (const api::v1::CloseSide& wanted : close.sides()) {
    SideState& state = side(ToStored(wanted.side()));
    if (state.sink == sink) state.ended = true;
  }
  // Nothing more can come of these on this stream.
  for (SideState& state : sides_) {
    if (state.sink == sink && failed.contains(ToWire(state.totals.side()))) {
      state.ended = true;
    }
  }
  more_sides_expected_ = close.more_sides_expected();
  Cut(/*all=*/true);
  if (MayClose()) BeginClose(stored::v1::CLOSE_REASON_CLOSED);
  return absl::OkStatus();
}

bool Session::MayClose() const {
  // Two streams may close in either order: once both sides have ended nobody is
  // expected, whatever the last one to close believed.
  const bool expected = more_sides_expected_;
  return state_ == State::kOpen &&
         std::all_of(sides_.begin(), sides_.end(), [=](const SideState& state) {
           return state.opened ? state.ended : !expected;
         });
}

}  // namespace diptych::ingest
