#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/receipt.h"
#include "archiver/ingest/receipt_desk.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_writer.h"
#include "archiver/ingest/stored_form.h"
#include "archiver/log/record.h"
#include "archiver/media/interleaver.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

// The half of a session that faces the log: when a chunk is due, what it is cut
// from, what is told once it is durable, and how a session ends. What gateways
// send is in session.cc.

namespace diptych::ingest {
namespace {

using log::Record;
using log::RecordType;

}  // namespace

bool Session::IsDue(int64_t head_dts_us) {
  if (interleaver_.payload_bytes() >= limits::kChunkMaxPayload_bytes ||
      interleaver_.packets() >= limits::kChunkMaxPackets) {
    return true;
  }
  const absl::Duration waited =
      context_->clock->Monotonic() - *interleaver_.oldest_arrival();
  if (waited >= absl::Microseconds(limits::kReorderWindow_us)) return true;
  // Every side that is here has come past the chunk's end.
  for (const stored::v1::Side s : kSides) {
    const SideState& state = side(s);
    if (state.sink == nullptr || state.ended) continue;
    if (!interleaver_.HasReached(s, head_dts_us + limits::kChunkMax_us)) {
      return false;
    }
  }
  return true;
}

int64_t Session::ChunkLimit(int64_t head_dts_us) {
  int64_t limit_us = head_dts_us + limits::kChunkMax_us;
  if (const std::optional<int64_t> segment_limit_us =
          writer_->segment_limit_us();
      segment_limit_us.has_value() && *segment_limit_us > head_dts_us) {
    limit_us = std::min(limit_us, *segment_limit_us);
  }
  const auto tag_time_us = tag_times_us_.upper_bound(head_dts_us);
  if (tag_time_us != tag_times_us_.end()) {
    limit_us = std::min(limit_us, *tag_time_us);
  }
  return limit_us;
}

void Session::Cut(bool all) {
  // Ends: every turn takes at least the head packet.
  while (failure_.ok() && state_ == State::kOpen && !interleaver_.empty()) {
    const int64_t head_us = *interleaver_.head_dts_us();
    if (!all && !IsDue(head_us)) return;
    std::vector<Record> records;
    absl::Status status;
    if (span_stale_) {
      std::vector<stored::v1::Track> tracks;
      for (const SideState& state : sides_) {
        for (const api::v1::Track& track : state.tracks) {
          tracks.push_back(ToStored(track));
        }
      }
      status = writer_->SetTracks(std::move(tracks), !span_broken_, &records);
      if (!status.ok()) return Fail(status);
      span_stale_ = false;
      span_broken_ = false;
    }
    // Under new timed tags a new segment begins.
    const auto tag_time_us = tag_times_us_.lower_bound(cut_until_us_);
    if (tag_time_us != tag_times_us_.end() && *tag_time_us <= head_us) {
      writer_->EndSegment(&records);
    }
    const int64_t limit_us = ChunkLimit(head_us);
    std::vector<media::PendingPacket> packets = interleaver_.Take(
        limit_us, limits::kChunkMaxPayload_bytes, limits::kChunkMaxPackets);
    size_t payload_bytes = 0;
    int64_t last_us = head_us;
    for (const media::PendingPacket& packet : packets) {
      payload_bytes += packet.payload.size();
      last_us = std::max(last_us, packet.info.dts_us);
    }
    // A chunk that was full early ends where its packets do.
    const bool full = payload_bytes >= limits::kChunkMaxPayload_bytes ||
                      packets.size() >= limits::kChunkMaxPackets;
    const size_t bytes = HeldBytes(payload_bytes, packets.size());
    const int64_t window_end_us =
        full || (all && interleaver_.empty()) ? last_us + 1 : limit_us;
    TakeClocks(packets, &records);
    status = writer_->WriteChunk(packets, head_us, window_end_us,
                                 TakeGaps(packets), &records);
    if (!status.ok()) {
      ReleaseUndurable(bytes);
      return Fail(status);
    }
    cut_until_us_ = window_end_us;
    Commit(std::move(records), bytes);
    AskForKeyFrames(window_end_us);
  }
}

std::vector<stored::v1::Gap> Session::TakeGaps(
    const std::vector<media::PendingPacket>& packets) {
  std::vector<stored::v1::Gap> gaps;
  for (const media::PendingPacket& packet : packets) {
    const int64_t start_us = packet.info.pts_us;
    const int64_t end_us =
        start_us + static_cast<int64_t>(packet.info.duration_us);
    coverage_.Take(packet.side, packet.info.track_id, start_us, end_us, &gaps);
    stored::v1::SideTotals& totals = side(packet.side).totals;
    if (totals.packets() == 0) totals.set_start_us(start_us);
    totals.set_start_us(std::min(totals.start_us(), start_us));
    totals.set_end_us(std::max(totals.end_us(), end_us));
    totals.set_packets(totals.packets() + 1);
    totals.set_payload_bytes(totals.payload_bytes() + packet.payload.size());
  }
  return gaps;
}

void Session::TakeClocks(const std::vector<media::PendingPacket>& packets,
                         std::vector<Record>* records) {
  std::array<uint64_t, 2> last = {};
  for (const media::PendingPacket& packet : packets) {
    last[packet.side == kSides[0] ? 0 : 1] = packet.info.sequence;
  }
  SessionWriter& writer = *writer_;
  // In the order of each side's packets.
  std::erase_if(pending_clocks_, [&](const PendingClock& pending) {
    const stored::v1::ClockChanged& changed = pending.changed;
    if (changed.first_sequence() > last[pending.side == kSides[0] ? 0 : 1]) {
      return false;
    }
    records->push_back(
        {RecordType::kClockChanged, changed.SerializeAsString(), ""});
    writer.TakeAccountOf(records->back());
    return true;
  });
}

void Session::Commit(std::vector<Record> records, size_t released_bytes) {
  if (records.empty()) return;
  // Everything accepted and no longer waiting in the interleaver is in this
  // submission or an earlier one.
  std::array<uint64_t, 2> sequences;
  std::array<uint64_t, 2> notes;
  for (size_t i = 0; i < sides_.size(); ++i) {
    sequences[i] =
        interleaver_.NextSequence(kSides[i]).value_or(sides_[i].received + 1) -
        1;
    notes[i] = sides_[i].notes_received;
  }
  ++commits_in_flight_;
  const absl::Duration cut = context_->clock->Monotonic();
  const absl::Status submitted = context_->log->Submit(
      std::move(records),
      [self = shared_from_this(), sequences, notes, released_bytes,
       cut](const absl::StatusOr<std::vector<log::Position>>& positions) {
        if (positions.ok()) {
          SessionContext& context = *self->context_;
          context.cut_to_durable.Add(context.clock->Monotonic() - cut);
        }
        base::MutexLock lock(&self->mutex_);
        --self->commits_in_flight_;
        self->ReleaseUndurable(released_bytes);
        if (!positions.ok()) return self->Fail(StorageFailed());
        for (size_t i = 0; i < sequences.size(); ++i) {
          SideState& state = self->sides_[i];
          if (sequences[i] <= state.durable &&
              notes[i] <= state.notes_durable) {
            continue;
          }
          state.durable = std::max(state.durable, sequences[i]);
          state.notes_durable = std::max(state.notes_durable, notes[i]);
          if (state.sink == nullptr || !state.told) continue;
          api::v1::SideProgress progress;
          progress.set_side(ToWire(kSides[i]));
          progress.set_sequence(state.durable);
          progress.set_note_sequence(state.notes_durable);
          state.sink->SendDurable(progress);
        }
        self->ResumeParked();
      });
  if (!submitted.ok()) {
    --commits_in_flight_;
    ReleaseUndurable(released_bytes);
    Fail(submitted);
  }
}

void Session::BeginClose(stored::v1::CloseReason reason) {
  if (state_ != State::kOpen) return;
  std::vector<Record> records;
  writer_->EndSegment(&records);
  stored::v1::SessionClosed closed;
  closed.set_session_id(std::string(id_.bytes()));
  closed.set_epoch(writer_->epoch());
  closed.set_reason(reason);
  closed.set_record_time_us(absl::ToUnixMicros(context_->clock->Now()));
  closed.set_segments(writer_->segments());
  closed.set_manifest_sha256(writer_->manifest_sha256());
  for (SideState& state : sides_) {
    state.totals.set_last_sequence(state.received);
    state.totals.set_last_note(state.notes_received);
    state.totals.set_ended(state.ended);
    state.totals.set_declared_sequence(state.declared);
    *closed.add_sides() = state.totals;
  }
  for (stored::v1::Gap& gap : coverage_.AtEnd()) {
    *closed.add_gaps() = std::move(gap);
  }
  for (std::string& digest : writer_->TakeUnnamedRecords()) {
    closed.add_records(std::move(digest));
  }
  std::string header = closed.SerializeAsString();
  records.push_back({RecordType::kSessionClosed, header, ""});
  state_ = State::kClosing;
  ++commits_in_flight_;
  const int64_t start_time_us = start_time_us_;
  const absl::Status submitted = context_->log->Submit(
      std::move(records),
      [self = shared_from_this(), header = std::move(header), start_time_us](
          const absl::StatusOr<std::vector<log::Position>>& positions) {
        {
          base::MutexLock lock(&self->mutex_);
          --self->commits_in_flight_;
          if (!positions.ok()) return self->Fail(StorageFailed());
          self->state_ = State::kClosed;
          GiveReceipt(self->context_->prover,
                      MakeReceipt(self->context_->archive->archive_id(),
                                  start_time_us, header, positions->back()),
                      self->Sinks());
          for (SideState& state : self->sides_) state.sink = nullptr;
        }
        self->on_closed_(self->id_);
      });
  if (!submitted.ok()) {
    --commits_in_flight_;
    Fail(submitted);
  }
}

void Session::Fail(const absl::Status& status) {
  if (state_ == State::kFailed) return;
  state_ = State::kFailed;
  failure_ = status;
  for (const auto& sink : Sinks()) sink->Finish(status);
  for (SideState& state : sides_) state.sink = nullptr;
  parked_.clear();
  ReleaseUndurable(
      HeldBytes(interleaver_.payload_bytes(), interleaver_.packets()));
  interleaver_ = media::Interleaver();
}

}  // namespace diptych::ingest
