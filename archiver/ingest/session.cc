#include "archiver/ingest/session.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/tag_keys.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/request_check.h"
#include "archiver/ingest/session_writer.h"
#include "archiver/ingest/stored_form.h"
#include "archiver/log/record.h"
#include "archiver/media/interleaver.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/session_sealer.h"
#include "archiver/seal/sha256.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

using log::Record;
using log::RecordType;

// What makes a packet the same packet: everything that is archived of it.
std::string PacketHash(const api::v1::Packet& packet) {
  return seal::Sha256(absl::StrCat(
      packet.track_id(), " ", packet.pts_us(), " ", packet.dts_us(), " ",
      packet.key_frame(), " ", packet.discard(), " ", packet.payload()));
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

Session::Session(SessionContext* context, const base::Uuid& id,
                 std::function<void(const base::Uuid&)> on_closed)
    : context_(context), id_(id), on_closed_(std::move(on_closed)) {}

absl::StatusOr<std::shared_ptr<Session>> Session::Create(
    SessionContext* context, const base::Uuid& id, int64_t start_time_us,
    const std::string& gateway, const stored::v1::OpenSession* before,
    std::function<void(const base::Uuid&)> on_closed) {
  // The constructor is private, which std::make_shared can't reach.
  std::shared_ptr<Session> session =
      absl::WrapUnique(new Session(context, id, std::move(on_closed)));
  RETURN_IF_ERROR(session->Start(start_time_us, gateway, before));
  return session;
}

absl::Status Session::Start(int64_t start_time_us, const std::string& gateway,
                            const stored::v1::OpenSession* before) {
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
    first_segment = before->next_segment();
    for (const stored::v1::SideTotals& totals : before->sides()) {
      SideState& state = side(totals.side());
      state.totals = totals;
      state.received = state.durable = totals.last_sequence();
      state.notes_received = state.notes_durable = totals.last_note();
      if (totals.packets() > 0) state.covered_until_us = totals.end_us();
    }
  }
  for (const stored::v1::Side s : kSides) side(s).totals.set_side(s);
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
  ++commits_in_flight_;
  const absl::Status submitted = context_->log->Submit(
      {{RecordType::kSessionOpened, opened.SerializeAsString(), ""}},
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
  for (const auto& sink : Sinks()) SendOpened(sink);
  ResumeParked();
}

void Session::SendOpened(const std::shared_ptr<StreamSink>& sink) {
  api::v1::RecordResponse response;
  api::v1::Opened* opened = response.mutable_opened();
  opened->set_resumed(resumed_);
  for (const stored::v1::Side s : kSides) {
    const SideState& state = side(s);
    if (state.sink != sink) continue;
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
    SideState& state = side(s);
    const bool same =
        std::equal(state.tracks.begin(), state.tracks.end(),
                   wanted.tracks().begin(), wanted.tracks().end(), SameTrack);
    if (state.sink != nullptr && !same) {
      return SideConflict(wanted.side(),
                          "is carried by another stream with other tracks");
    }
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
  for (const api::v1::OpenSide& wanted : open.sides()) {
    const stored::v1::Side s = ToStored(wanted.side());
    SideState& state = side(s);
    if (state.sink != nullptr && state.sink != sink) {
      const std::shared_ptr<StreamSink> old = state.sink;
      for (SideState& other : sides_) {
        if (other.sink == old) other.sink = nullptr;
      }
      parked_.erase(old);
      old->Finish(TakenOver());
    }
    state.opened = true;
    state.ended = false;
    state.sink = sink;
    RETURN_IF_ERROR(SetSideTracks(s, wanted));
  }
  if (state_ == State::kOpen) SendOpened(sink);
  return absl::OkStatus();
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
  state.tracks.assign(wanted.tracks().begin(), wanted.tracks().end());
  for (const api::v1::Track& track : state.tracks) {
    tracks_[track.track_id()].side = s;
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

absl::StatusOr<stored::v1::Side> Session::SideOfSink(
    const std::shared_ptr<StreamSink>& sink, api::v1::Side wanted) const {
  for (size_t i = 0; i < kSides.size(); ++i) {
    if (ToWire(kSides[i]) == wanted && sides_[i].sink == sink) return kSides[i];
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
    const std::string hash = PacketHash(packet);
    if (found->sha256 != hash) {
      return SequenceReused(ToWire(s), packet.sequence(), found->sha256, hash);
    }
  }
  if (packet.sequence() <= state->durable) {
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
  if (track_state == tracks_.end() ||
      side(track_state->second.side).sink != sink) {
    return UnknownTrack(packet.track_id());
  }
  const stored::v1::Side s = track_state->second.side;
  SideState& state = side(s);
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
  std::optional<int64_t>& last_dts_us = track_state->second.last_dts_us;
  if (last_dts_us.has_value() && packet.dts_us() < *last_dts_us) {
    return base::WithDetail(
        BadTime(packet.track_id(), packet.sequence(),
                absl::StrCat("dts goes back from ", *last_dts_us, " to ",
                             packet.dts_us(), " us")),
        place);
  }

  last_dts_us = packet.dts_us();
  if (packet.key_frame()) {
    track_state->second.last_key_pts_us = packet.pts_us();
  }
  last_activity_ = context_->clock->Monotonic();
  state.received = packet.sequence();
  state.window.push_back({packet.sequence(), PacketHash(packet)});
  if (state.window.size() > limits::kReplayWindow_packets) {
    state.window.pop_front();
  }
  media::PendingPacket pending;
  pending.side = s;
  pending.info = ToInfo(packet);
  pending.payload = std::move(*packet.mutable_payload());
  pending.arrived = last_activity_;
  AddUndurable(HeldBytes(pending.payload.size(), 1));
  interleaver_.Push(std::move(pending));
  if (interleaver_.payload_bytes() >= limits::kChunkMaxPayload_bytes ||
      interleaver_.packets() >= limits::kChunkMaxPackets) {
    Cut(/*all=*/false);
  }
  return absl::OkStatus();
}

absl::Status Session::TakeNote(stored::v1::Side s, const api::v1::Note& note,
                               stored::v1::NoteList* list,
                               std::vector<Record>* records) {
  SideState& state = side(s);
  if (note.note_sequence() > 0 &&
      note.note_sequence() <= state.notes_received) {
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
  if (note.kind_case() == api::v1::Note::kAttachmentPart) {
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
    // Keeps the notes in the order of their numbers.
    if (list->notes_size() > 0) {
      records->push_back(writer_->WriteNotes(s, *list));
      list->Clear();
    }
    records->push_back(writer_->WriteAttachmentPart(
        s, note.note_sequence(), part.attachment_id(), part.offset(),
        part.data()));
  } else {
    *list->add_notes() = ToStored(note);
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

absl::Status Session::OnNotes(const std::shared_ptr<StreamSink>& sink,
                              const api::v1::Notes& notes) {
  base::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckUsable());
  ASSIGN_OR_RETURN(const stored::v1::Side s, SideOfSink(sink, notes.side()));
  last_activity_ = context_->clock->Monotonic();
  stored::v1::NoteList list;
  std::vector<Record> records;
  absl::Status status;
  for (const api::v1::Note& note : notes.notes()) {
    status = TakeNote(s, note, &list, &records);
    if (!status.ok()) break;
  }
  if (list.notes_size() > 0) records.push_back(writer_->WriteNotes(s, list));
  size_t bytes = 0;
  for (const Record& record : records) bytes += record.body.size();
  AddUndurable(bytes);
  Commit(std::move(records), bytes);
  return status;
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
    ASSIGN_OR_RETURN(const stored::v1::Side s, SideOfSink(sink, wanted.side()));
    SideState& state = side(s);
    state.declared = wanted.final_sequence();
    if (failed.contains(wanted.side())) continue;
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
    side(ToStored(wanted.side())).ended = true;
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
  return state_ == State::kOpen && !more_sides_expected_ &&
         std::all_of(sides_.begin(), sides_.end(), [](const SideState& state) {
           return !state.opened || state.ended;
         });
}

bool Session::ReadyForMore(const std::shared_ptr<StreamSink>& sink) {
  base::MutexLock lock(&mutex_);
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

}  // namespace diptych::ingest
