#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/util/time_util.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/tag_keys.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/request_check.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_writer.h"
#include "archiver/ingest/stored_form.h"
#include "archiver/ingest/track_clock.h"
#include "archiver/log/record.h"
#include "archiver/media/interleaver.h"
#include "archiver/media/packet_table.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

// What gateways send: packets and notes, in order, once, on the session's
// timeline.

namespace diptych::ingest {
namespace {

using google::protobuf::util::TimeUtil;
using log::Record;

// What makes a packet the same packet: everything that is archived of it.
std::string PacketHash(const api::v1::Packet& packet,
                       const std::string& payload_sha256) {
  return base::Sha256(absl::StrCat(
      packet.track_id(), " ", packet.pts_us(), " ", packet.dts_us(), " ",
      packet.duration_us(), " ", packet.skip_start_samples(), " ",
      packet.skip_end_samples(), " ", packet.key_frame(), " ", packet.discard(),
      " ", payload_sha256));
}

media::PacketInfo ToInfo(const api::v1::Packet& packet) {
  media::PacketInfo info;
  info.track_id = packet.track_id();
  info.sequence = packet.sequence();
  info.pts_us = packet.pts_us();
  info.dts_us = packet.dts_us();
  info.duration_us = packet.duration_us();
  info.key_frame = packet.key_frame();
  info.discard = packet.discard();
  info.skip_start_samples = packet.skip_start_samples();
  info.skip_end_samples = packet.skip_end_samples();
  info.payload_bytes = static_cast<uint32_t>(packet.payload().size());
  return info;
}

}  // namespace

absl::StatusOr<stored::v1::Side> Session::SideOfSink(
    const std::shared_ptr<StreamSink>& sink, api::v1::Side wanted) const {
  for (size_t i = 0; i < kSides.size(); ++i) {
    if (ToWire(kSides[i]) == wanted && sides_[i].sink == sink) return kSides[i];
  }
  return NotOfSink(wanted);
}

absl::Status Session::NotOfSink(api::v1::Side wanted) const {
  for (size_t i = 0; i < kSides.size(); ++i) {
    if (ToWire(kSides[i]) == wanted && sides_[i].opened) {
      return SideTakenOver(wanted);
    }
  }
  return BadOpen("this stream does not carry that side");
}

absl::Status Session::CheckReplay(SideState* state, stored::v1::Side s,
                                  const api::v1::Packet& packet) {
  const auto found = std::lower_bound(
      state->window.begin(), state->window.end(), packet.sequence(),
      [](const Replay& replay, uint64_t sequence) {
        return replay.sequence < sequence;
      });
  if (found == state->window.end() || found->sequence != packet.sequence()) {
    context_->old_replays.fetch_add(1, std::memory_order_relaxed);
  } else {
    const std::string hash = PacketHash(packet, base::Sha256(packet.payload()));
    if (found->sha256 != hash) {
      return SequenceReused(ToWire(s), packet.sequence(), found->sha256, hash);
    }
  }
  if (packet.sequence() <= state->durable && state->told) {
    api::v1::SideProgress progress;
    progress.set_side(ToWire(s));
    progress.set_sequence(state->durable);
    progress.set_note_sequence(state->notes_durable);
    state->sink->SendDurable(progress);
  }
  return absl::OkStatus();
}

absl::Status Session::OnPacket(const std::shared_ptr<StreamSink>& sink,
                               api::v1::Packet packet) {
  base::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckUsable());
  const auto track_state = tracks_.find(packet.track_id());
  if (track_state == tracks_.end()) return UnknownTrack(packet.track_id());
  const stored::v1::Side s = track_state->second.side;
  SideState& state = side(s);
  if (state.sink != sink) return NotOfSink(ToWire(s));
  state.last_heard = context_->clock->Monotonic();
  api::v1::ErrorDetail place;
  place.set_side(ToWire(s));
  if (state.ended) return SideEnded(ToWire(s));
  const auto track = std::find_if(state.tracks.begin(), state.tracks.end(),
                                  [&](const api::v1::Track& t) {
                                    return t.track_id() == packet.track_id();
                                  });
  if (track == state.tracks.end()) {
    return base::WithDetail(UnknownTrack(packet.track_id()), place);
  }
  if (packet.sequence() > 0 && packet.sequence() <= state.received) {
    return CheckReplay(&state, s, packet);
  }
  if (packet.sequence() != state.received + 1) {
    return SequenceGap(ToWire(s), state.received + 1, packet.sequence(),
                       /*note=*/false);
  }
  RETURN_IF_ERROR(base::WithDetail(CheckPacket(*track, packet), place));
  // If both its times go back further it is a jump of the clock, which is
  // recorded and not refused.
  const TrackClock& clock = track_state->second.clock;
  const std::optional<int64_t> before_us = clock.last_raw_dts_us();
  if (before_us.has_value() && packet.dts_us() < *before_us &&
      (*before_us - packet.dts_us() < limits::kClockJump_us ||
       packet.pts_us() >= clock.last_raw_pts_us())) {
    return base::WithDetail(
        BadTime(packet.track_id(), packet.sequence(),
                absl::StrCat("dts goes back from ", *before_us, " to ",
                             packet.dts_us(), " us")),
        place);
  }
  last_activity_ = state.last_heard;
  media::PacketInfo info = ToInfo(packet);
  Place(s, &track_state->second, &info);
  RETURN_IF_ERROR(failure_);
  state.received = packet.sequence();
  std::string payload_sha256 = base::Sha256(packet.payload());
  source_check_.Take(
      packet.track_id(), packet.sequence(), state.received_before,
      {.pts_ms = evidence::ToMs(packet.pts_us()),
       .key_frame = track_state->second.video && packet.key_frame(),
       .payload_bytes = info.payload_bytes,
       .payload_sha256 = payload_sha256});
  state.window.push_back(
      {packet.sequence(), PacketHash(packet, payload_sha256)});
  if (state.window.size() > limits::kReplayWindow_packets) {
    state.window.pop_front();
  }
  media::PendingPacket pending;
  pending.side = s;
  pending.info = info;
  pending.payload = std::move(*packet.mutable_payload());
  pending.payload_sha256 = std::move(payload_sha256);
  pending.arrived = last_activity_;
  AddUndurable(HeldBytes(pending.payload.size(), 1));
  interleaver_.Push(std::move(pending));
  if (interleaver_.payload_bytes() >= limits::kChunkMaxPayload_bytes ||
      interleaver_.packets() >= limits::kChunkMaxPackets) {
    Cut(/*all=*/false);
  }
  return absl::OkStatus();
}

void Session::Place(stored::v1::Side s, TrackState* track,
                    media::PacketInfo* packet) {
  const TrackClock* reference = nullptr;
  if (!track->clock.anchored()) {
    // The side's tracks come from one place, so one clock tells for all.
    for (const api::v1::Track& other : side(s).tracks) {
      const TrackClock& clock = tracks_[other.track_id()].clock;
      if (clock.anchored()) {
        reference = &clock;
        break;
      }
    }
  }
  TrackClock::Mapped mapped = track->clock.Map(packet->dts_us, packet->pts_us,
                                               packet->duration_us, reference);
  packet->dts_us += mapped.offset_us;
  packet->pts_us += mapped.offset_us;
  packet->raw_offset_us = -mapped.offset_us;
  if (packet->key_frame) track->last_key_pts_us = packet->pts_us;
  track->started = true;
  if (!mapped.change.has_value()) return;
  ++clock_changes_;
  stored::v1::ClockChanged& changed = *mapped.change;
  if (changed.reason() == stored::v1::CLOCK_REASON_JUMP &&
      writer_->spans() < limits::kMaxSpansOfJumps) {
    // What came before the jump belongs to the old span.
    Cut(/*all=*/true);
    span_stale_ = true;
    span_broken_ = true;
  }
  changed.set_session_id(std::string(id_.bytes()));
  changed.set_epoch(writer_->epoch());
  changed.set_side(s);
  changed.set_track_id(packet->track_id);
  changed.set_first_sequence(packet->sequence);
  changed.set_record_time_us(absl::ToUnixMicros(context_->clock->Now()));
  pending_clocks_.push_back({s, std::move(changed)});
}

void Session::TakeAnchor(const api::v1::ClockAnchor& wire) {
  const auto track = tracks_.find(wire.track_id());
  // Beyond the limit the mappings stand as they are; the anchors are kept raw.
  if (track == tracks_.end() || clock_changes_ >= limits::kMaxClockChanges) {
    return;
  }
  Anchor anchor;
  anchor.media_us = wire.media_us();
  anchor.wall_us =
      TimeUtil::TimestampToMicroseconds(wire.wall_time()) - start_time_us_;
  anchor.uncertainty_us = wire.uncertainty_us();
  anchor.source = wire.source();
  const TrackClock* reference = nullptr;
  for (const api::v1::Track& other : side(track->second.side).tracks) {
    const TrackClock& clock = tracks_[other.track_id()].clock;
    if (other.track_id() != wire.track_id() && clock.anchored()) {
      reference = &clock;
      break;
    }
  }
  track->second.clock.AddAnchor(anchor, reference);
}

absl::Status Session::TakeNote(stored::v1::Side s, const api::v1::Note& note,
                               stored::v1::NoteList* list,
                               std::vector<Record>* records) {
  SideState& state = side(s);
  if (note.note_sequence() > 0 &&
      note.note_sequence() <= state.notes_received) {
    // After a restart nobody else knows when the tags in force began.
    if (note.kind_case() == api::v1::Note::kTag &&
        !base::IsWholeSessionKey(note.tag().key()) &&
        tag_times_us_.size() < limits::kMaxTagValuesPerSession) {
      tag_times_us_.insert(note.at_us());
    }
    return absl::OkStatus();
  }
  if (note.note_sequence() != state.notes_received + 1) {
    return SequenceGap(ToWire(s), state.notes_received + 1,
                       note.note_sequence(), /*note=*/true);
  }
  if (state.notes_received >= limits::kMaxNotesPerSide) {
    return BadNote(ToWire(s), note.note_sequence(),
                   "a side has no room for more notes");
  }
  RETURN_IF_ERROR(CheckNote(ToWire(s), note));
  if (!writer_->HasRoomForRecords()) {
    return BadNote(ToWire(s), note.note_sequence(),
                   "so many notes without media between them are not taken");
  }
  if (note.kind_case() == api::v1::Note::kSourceDigest) {
    const auto track = tracks_.find(note.source_digest().track_id());
    if (track == tracks_.end() || track->second.side != s) {
      return BadNote(ToWire(s), note.note_sequence(),
                     "a source digest names no track of its side");
    }
    ASSIGN_OR_RETURN(stored::v1::SourceDigest digest,
                     source_check_.Check(s, note.note_sequence(),
                                         state.received, note.source_digest()));
    FlushNotes(s, list, records);
    records->push_back(writer_->WriteSourceDigest(std::move(digest)));
  } else if (note.kind_case() == api::v1::Note::kAttachmentPart) {
    const api::v1::AttachmentPart& part = note.attachment_part();
    if (attachment_next_.size() >= limits::kMaxAttachmentsPerSession &&
        !attachment_next_.contains(part.attachment_id())) {
      return BadNote(ToWire(s), note.note_sequence(),
                     "a session has no room for more attachments");
    }
    // After a restart the parts before are only known to be durable.
    const auto [next, first] =
        attachment_next_.try_emplace(part.attachment_id(), part.offset());
    if (next->second != part.offset() ||
        (first && !resumed_ && part.offset() != 0)) {
      return BadNote(ToWire(s), note.note_sequence(),
                     "an attachment's part does not follow the one before");
    }
    next->second += part.data().size();
    FlushNotes(s, list, records);
    records->push_back(writer_->WriteAttachmentPart(
        s, note.note_sequence(), part.attachment_id(), part.offset(),
        part.data()));
  } else {
    *list->add_notes() = ToStored(note);
    if (note.kind_case() == api::v1::Note::kClockAnchor) {
      TakeAnchor(note.clock_anchor());
    }
    if (note.kind_case() == api::v1::Note::kTag &&
        !base::IsWholeSessionKey(note.tag().key())) {
      tag_times_us_.insert(note.at_us());
      // Late: what is cut stays as it is, but no more joins it.
      if (note.at_us() < cut_until_us_) writer_->EndSegment(records);
    }
  }
  state.notes_received = note.note_sequence();
  return absl::OkStatus();
}

void Session::FlushNotes(stored::v1::Side s, stored::v1::NoteList* list,
                         std::vector<Record>* records) {
  if (list->notes_size() == 0) return;
  records->push_back(writer_->WriteNotes(s, *list));
  list->Clear();
}

absl::Status Session::OnNotes(const std::shared_ptr<StreamSink>& sink,
                              const api::v1::Notes& notes) {
  base::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckUsable());
  ASSIGN_OR_RETURN(const stored::v1::Side s, SideOfSink(sink, notes.side()));
  last_activity_ = context_->clock->Monotonic();
  if (state_ == State::kOpen &&
      std::any_of(
          notes.notes().begin(), notes.notes().end(),
          [](const api::v1::Note& note) { return note.has_source_digest(); })) {
    // What is signed lies ahead of its signature in the log.
    Cut(/*all=*/true);
    RETURN_IF_ERROR(failure_);
  }
  stored::v1::NoteList list;
  std::vector<Record> records;
  absl::Status status;
  for (const api::v1::Note& note : notes.notes()) {
    status = TakeNote(s, note, &list, &records);
    if (!status.ok()) break;
  }
  FlushNotes(s, &list, &records);
  size_t bytes = 0;
  for (const Record& record : records) bytes += record.body.size();
  AddUndurable(bytes);
  Commit(std::move(records), bytes);
  return status;
}

}  // namespace diptych::ingest
