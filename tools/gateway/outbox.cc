#include "tools/gateway/outbox.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {
namespace {

// What an entry takes beside its bytes; roughly.
constexpr size_t kEntry_bytes = 128;
constexpr size_t kNotesMessage_bytes = 1 << 20;

size_t SizeOf(const api::v1::Packet& packet) {
  return packet.payload().size() + kEntry_bytes;
}

size_t SizeOf(const api::v1::Note& note) {
  return note.ByteSizeLong() + kEntry_bytes;
}

}  // namespace

Outbox::Outbox(const std::vector<api::v1::OpenSide>& sides) {
  for (const api::v1::OpenSide& side : sides) {
    sides_[side.side()].tracks[0] =
        Tracks(side.tracks().begin(), side.tracks().end());
  }
}

Outbox::SideState* Outbox::Find(api::v1::Side side) {
  const auto found = sides_.find(side);
  return found == sides_.end() ? nullptr : &found->second;
}

void Outbox::AddPacket(api::v1::Side side, api::v1::Packet packet,
                       absl::Duration now) {
  SideState* const state = Find(side);
  if (state == nullptr) return;
  packet.set_sequence(++state->last_sequence);
  if (packet.sequence() <= state->durable_sequence) return;
  kept_bytes_ += SizeOf(packet);
  state->packets.push_back({.order = next_order_++,
                            .added = now,
                            .tracks_version = state->newest_tracks,
                            .packet = std::move(packet)});
}

absl::Status Outbox::AddNote(api::v1::Side side, api::v1::Note note) {
  SideState* const state = Find(side);
  if (state == nullptr) return absl::OkStatus();
  if (note.has_tag() &&
      state->tag_notes.size() + state->notes.size() >= limits::kMaxTagNotes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "over ", limits::kMaxTagNotes, " changes of tags in a session"));
  }
  note.set_note_sequence(++state->last_note);
  if (note.note_sequence() <= state->durable_note) {
    // Sent by an earlier run; an archive that was restarted since can't read
    // what it wrote.
    if (note.has_tag()) KeepTagNote(state, std::move(note), /*said=*/false);
    return absl::OkStatus();
  }
  kept_bytes_ += SizeOf(note);
  state->notes.push_back({.order = next_order_++, .note = std::move(note)});
  return absl::OkStatus();
}

void Outbox::AddTracks(api::v1::Side side, const Tracks& tracks) {
  SideState* const state = Find(side);
  if (state == nullptr) return;
  state->tracks[++state->newest_tracks] = tracks;
}

std::vector<api::v1::OpenSide> Outbox::OpenSides() {
  std::vector<api::v1::OpenSide> open;
  for (auto& [id, side] : sides_) {
    side.told_tracks = side.packets.empty()
                           ? side.newest_tracks
                           : side.packets.front().tracks_version;
    api::v1::OpenSide& declared = open.emplace_back();
    declared.set_side(id);
    for (const api::v1::Track& track : side.tracks[side.told_tracks]) {
      *declared.add_tracks() = track;
    }
  }
  return open;
}

absl::Status Outbox::Resume(
    const std::vector<api::v1::SideProgress>& progress) {
  for (auto& [id, side] : sides_) {
    side.packets_sent = 0;
    side.notes_sent = 0;
    for (TagNote& tag : side.tag_notes) tag.said = false;
  }
  for (const api::v1::SideProgress& had : progress) {
    const SideState* const side = Find(had.side());
    if (side == nullptr) continue;
    if (had.sequence() < side->durable_sequence ||
        had.note_sequence() < side->durable_note) {
      return absl::DataLossError(
          "the archive asks again for what it had called durable");
    }
    MarkDurable(had);
  }
  return absl::OkStatus();
}

void Outbox::MarkDurable(const api::v1::SideProgress& progress) {
  SideState* const side = Find(progress.side());
  if (side == nullptr) return;
  side->durable_sequence =
      std::max<uint64_t>(side->durable_sequence, progress.sequence());
  side->durable_note =
      std::max<uint64_t>(side->durable_note, progress.note_sequence());
  Trim(side);
}

void Outbox::Trim(SideState* side) {
  while (!side->packets.empty() &&
         side->packets.front().packet.sequence() <= side->durable_sequence) {
    kept_bytes_ -= SizeOf(side->packets.front().packet);
    side->packets.pop_front();
    if (side->packets_sent > 0) --side->packets_sent;
  }
  while (!side->notes.empty() &&
         side->notes.front().note.note_sequence() <= side->durable_note) {
    api::v1::Note note = std::move(side->notes.front().note);
    kept_bytes_ -= SizeOf(note);
    side->notes.pop_front();
    const bool said = side->notes_sent > 0;
    if (said) --side->notes_sent;
    if (note.has_tag()) KeepTagNote(side, std::move(note), said);
  }
  const uint32_t oldest_used = side->packets.empty()
                                   ? side->newest_tracks
                                   : side->packets.front().tracks_version;
  side->tracks.erase(side->tracks.begin(),
                     side->tracks.lower_bound(oldest_used));
}

void Outbox::KeepTagNote(SideState* side, api::v1::Note note, bool said) {
  if (note.tag().operation() == api::v1::TAG_OPERATION_SET) {
    const auto overruled = [&](const TagNote& earlier) {
      return earlier.note.tag().key() == note.tag().key();
    };
    side->tag_notes.erase(std::remove_if(side->tag_notes.begin(),
                                         side->tag_notes.end(), overruled),
                          side->tag_notes.end());
  }
  side->tag_notes.push_back({.note = std::move(note), .said = said});
}

void Outbox::RemoveSide(api::v1::Side side) {
  const SideState* const state = Find(side);
  if (state == nullptr) return;
  for (const PacketEntry& entry : state->packets) {
    kept_bytes_ -= SizeOf(entry.packet);
  }
  for (const NoteEntry& entry : state->notes) kept_bytes_ -= SizeOf(entry.note);
  sides_.erase(side);
}

Outbox::Next Outbox::FindNext(
    const std::map<api::v1::Side, size_t>& skip_packets) const {
  Next next;
  uint64_t lowest = UINT64_MAX;
  for (const auto& [id, side] : sides_) {
    const auto skip = skip_packets.find(id);
    const size_t packet =
        side.packets_sent + (skip == skip_packets.end() ? 0 : skip->second);
    if (packet < side.packets.size() && side.packets[packet].order < lowest) {
      lowest = side.packets[packet].order;
      next = {.kind = Next::Kind::kPacket, .side = id};
    }
    if (side.notes_sent < side.notes.size() &&
        side.notes[side.notes_sent].order < lowest) {
      lowest = side.notes[side.notes_sent].order;
      next = {.kind = Next::Kind::kNote, .side = id};
    }
  }
  return next;
}

Outbox::Batch Outbox::GatherBatch() const {
  Batch batch;
  size_t bytes = 0;
  while (true) {
    const Next next = FindNext(batch.per_side);
    if (next.kind == Next::Kind::kNothing) return batch;
    batch.closed = true;
    if (next.kind == Next::Kind::kNote) return batch;
    const SideState& side = sides_.at(next.side);
    size_t* const taken = &batch.per_side[next.side];
    const PacketEntry& entry = side.packets[side.packets_sent + *taken];
    if (entry.tracks_version != side.told_tracks) return batch;
    bytes += SizeOf(entry.packet);
    const bool first = batch.packets.empty();
    if (!first && (bytes > limits::kBatchMax_bytes ||
                   batch.packets.size() >= limits::kMaxPacketsPerMessage)) {
      return batch;
    }
    batch.packets.push_back(&entry);
    ++*taken;
    batch.closed = bytes >= limits::kBatchMax_bytes;
    if (batch.closed) return batch;
  }
}

bool Outbox::TakeTagsAgain(api::v1::RecordRequest* message) {
  for (auto& [id, side] : sides_) {
    api::v1::Notes* notes = nullptr;
    for (TagNote& tag : side.tag_notes) {
      if (tag.said) continue;
      if (notes == nullptr) {
        notes = message->mutable_notes();
        notes->set_side(id);
      }
      *notes->add_notes() = tag.note;
      tag.said = true;
      if (static_cast<size_t>(notes->notes_size()) >=
          limits::kMaxNotesPerMessage) {
        break;
      }
    }
    if (notes != nullptr) return true;
  }
  return false;
}

void Outbox::TakeNotes(api::v1::Side id, api::v1::RecordRequest* message) {
  SideState* const side = Find(id);
  api::v1::Notes* const notes = message->mutable_notes();
  notes->set_side(id);
  size_t bytes = 0;
  do {
    const api::v1::Note& note = side->notes[side->notes_sent].note;
    bytes += SizeOf(note);
    if (notes->notes_size() > 0 && bytes > kNotesMessage_bytes) return;
    *notes->add_notes() = note;
    ++side->notes_sent;
    const Next next = FindNext({});
    if (next.kind != Next::Kind::kNote || next.side != id) return;
  } while (static_cast<size_t>(notes->notes_size()) <
           limits::kMaxNotesPerMessage);
}

std::optional<api::v1::RecordRequest> Outbox::NextMessage(absl::Duration now,
                                                          bool flush) {
  api::v1::RecordRequest message;
  if (TakeTagsAgain(&message)) return message;
  const Next next = FindNext({});
  if (next.kind == Next::Kind::kNothing) return std::nullopt;
  if (next.kind == Next::Kind::kNote) {
    TakeNotes(next.side, &message);
    return message;
  }
  SideState* const side = Find(next.side);
  const PacketEntry& first = side->packets[side->packets_sent];
  if (first.tracks_version != side->told_tracks) {
    side->told_tracks = first.tracks_version;
    api::v1::OpenSide* const changed =
        message.mutable_tracks_changed()->mutable_side();
    changed->set_side(next.side);
    for (const api::v1::Track& track : side->tracks[first.tracks_version]) {
      *changed->add_tracks() = track;
    }
    return message;
  }
  const Batch batch = GatherBatch();
  if (!batch.closed && !flush && now < first.added + limits::kBatchMax) {
    return std::nullopt;
  }
  for (const PacketEntry* const entry : batch.packets) {
    *message.mutable_packets()->add_packets() = entry->packet;
  }
  for (const auto& [id, count] : batch.per_side) {
    Find(id)->packets_sent += count;
  }
  return message;
}

std::optional<absl::Duration> Outbox::NextDeadline() const {
  const Next next = FindNext({});
  if (next.kind != Next::Kind::kPacket) return std::nullopt;
  const SideState& side = sides_.at(next.side);
  return side.packets[side.packets_sent].added + limits::kBatchMax;
}

bool Outbox::everything_sent() const {
  for (const auto& [id, side] : sides_) {
    for (const TagNote& tag : side.tag_notes) {
      if (!tag.said) return false;
    }
  }
  return FindNext({}).kind == Next::Kind::kNothing;
}

std::vector<api::v1::CloseSide> Outbox::CloseSides() const {
  std::vector<api::v1::CloseSide> close;
  for (const auto& [id, side] : sides_) {
    api::v1::CloseSide& ended = close.emplace_back();
    ended.set_side(id);
    ended.set_final_sequence(
        std::max(side.last_sequence, side.durable_sequence));
    ended.set_final_note_sequence(std::max(side.last_note, side.durable_note));
  }
  return close;
}

api::v1::SideProgress Outbox::durable(api::v1::Side side) const {
  api::v1::SideProgress progress;
  progress.set_side(side);
  const auto found = sides_.find(side);
  if (found == sides_.end()) return progress;
  progress.set_sequence(found->second.durable_sequence);
  progress.set_note_sequence(found->second.durable_note);
  return progress;
}

}  // namespace diptych::gateway
