#include "tools/gateway/outbox.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {
namespace {

constexpr size_t kNotesMessage_bytes = 1 << 20;

}  // namespace

Outbox::Outbox(const std::vector<api::v1::OpenSide>& sides, bool spooling,
               SourceSigning signing)
    : spooling_(spooling), signing_(std::move(signing)) {
  for (const api::v1::OpenSide& open : sides) {
    SideState& side = sides_[open.side()];
    side.tracks[0] = Tracks(open.tracks().begin(), open.tracks().end());
    side.runs.SetTracks(side.tracks[0]);
  }
}

Outbox::SideState* Outbox::Find(api::v1::Side side) {
  const auto found = sides_.find(side);
  return found == sides_.end() ? nullptr : &found->second;
}

void Outbox::PutInWindow(SpoolItem item) {
  SideState* const side = Find(item.side);
  if (side == nullptr || item.kind == SpoolItem::Kind::kTracks) return;
  kept_bytes_ += item.bytes();
  unsent_bytes_ += item.bytes();
  (item.packet != nullptr ? side->packets : side->notes)
      .push_back(std::move(item));
}

void Outbox::Keep(SpoolItem item) {
  if (spooling_) unwritten_.push_back(item);
  if (!on_disk_) return PutInWindow(std::move(item));
  kept_bytes_ += item.bytes();
  tail_bytes_ += item.bytes();
  tail_.push_back(std::move(item));
}

void Outbox::AddPacket(api::v1::Side id, api::v1::Packet packet,
                       absl::Duration now, std::string payload_sha256) {
  SideState* const side = Find(id);
  if (side == nullptr) return;
  if (signing_.signer != nullptr) {
    if (side->runs.IsDueBefore(packet, now, signing_.repeatable)) {
      AddStatementsOf(id, side, &side->runs, now);
    }
    if (payload_sha256.empty()) payload_sha256 = base::Sha256(packet.payload());
    side->runs.Add(packet, payload_sha256, now);
  }
  const uint64_t number = ++side->last_sequence;
  ++side->counters.accepted;
  if (!side->provisional && number <= side->durable_sequence) return;
  Keep({.kind = SpoolItem::Kind::kPacket,
        .side = id,
        .order = next_order_++,
        .number = number,
        .generation = static_cast<uint32_t>(renumberings_.size()),
        .tracks_version = side->newest_tracks,
        .added = now,
        .packet = std::make_shared<const api::v1::Packet>(std::move(packet))});
}

absl::Status Outbox::AddNote(api::v1::Side id, api::v1::Note note,
                             absl::Duration now) {
  SideState* const side = Find(id);
  if (side == nullptr) return absl::OkStatus();
  const auto is_tag = [](const SpoolItem& item) {
    return item.note->has_tag();
  };
  if (note.has_tag() &&
      side->tag_notes.size() +
              std::count_if(side->notes.begin(), side->notes.end(), is_tag) >=
          limits::kMaxTagNotes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "over ", limits::kMaxTagNotes, " changes of tags in a session"));
  }
  const uint64_t number = ++side->last_note;
  if (!side->provisional && number <= side->durable_note) {
    // Sent by an earlier run; an archive that was restarted since can't read
    // what it wrote.
    note.set_note_sequence(number);
    if (note.has_tag()) KeepTagNote(side, std::move(note), /*said=*/false);
    return absl::OkStatus();
  }
  Keep({.kind = SpoolItem::Kind::kNote,
        .side = id,
        .order = next_order_++,
        .number = number,
        .generation = static_cast<uint32_t>(renumberings_.size()),
        .added = now,
        .note = std::make_shared<const api::v1::Note>(std::move(note))});
  return absl::OkStatus();
}

void Outbox::AddTracks(api::v1::Side id, const Tracks& tracks,
                       absl::Duration now) {
  SideState* const side = Find(id);
  if (side == nullptr) return;
  if (signing_.signer != nullptr) AddStatementsOf(id, side, &side->runs, now);
  side->runs.SetTracks(tracks);
  KeepTracks(id, tracks);
}

void Outbox::KeepTracks(api::v1::Side id, const Tracks& tracks) {
  SideState* const side = Find(id);
  side->tracks[++side->newest_tracks] = tracks;
  if (!spooling_) return;
  auto open = std::make_shared<api::v1::OpenSide>();
  open->set_side(id);
  for (const api::v1::Track& track : tracks) *open->add_tracks() = track;
  unwritten_.push_back({.kind = SpoolItem::Kind::kTracks,
                        .side = id,
                        .order = next_order_++,
                        .tracks_version = side->newest_tracks,
                        .tracks = std::move(open)});
}

void Outbox::CountDropped(api::v1::Side side) {
  if (SideState* const state = Find(side)) ++state->counters.dropped;
}

std::vector<api::v1::OpenSide> Outbox::OpenSides() {
  std::vector<api::v1::OpenSide> open;
  for (auto& [id, side] : sides_) {
    side.told_tracks = !side.packets.empty()
                           ? side.packets.front().tracks_version
                       : on_disk_ ? side.tracks.begin()->first
                                  : side.newest_tracks;
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
  unsent_bytes_ = kept_bytes_ - tail_bytes_;
  for (const api::v1::SideProgress& had : progress) {
    SideState* const side = Find(had.side());
    if (side == nullptr) continue;
    if (side->provisional) Settle(had.side(), side, had);
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
  if (spooling_) ForgetDurableUnwritten();
}

void Outbox::Trim(SideState* side) {
  if (side->provisional) return;
  while (!side->packets.empty() &&
         side->packets.front().number <= side->durable_sequence) {
    const size_t bytes = side->packets.front().bytes();
    kept_bytes_ -= bytes;
    side->packets.pop_front();
    if (side->packets_sent > 0) {
      --side->packets_sent;
    } else {
      unsent_bytes_ -= bytes;
    }
  }
  while (!side->notes.empty() &&
         side->notes.front().number <= side->durable_note) {
    const SpoolItem item = std::move(side->notes.front());
    kept_bytes_ -= item.bytes();
    side->notes.pop_front();
    const bool said = side->notes_sent > 0;
    if (said) {
      --side->notes_sent;
    } else {
      unsent_bytes_ -= item.bytes();
    }
    if (!item.note->has_tag()) continue;
    api::v1::Note note = *item.note;
    note.set_note_sequence(item.number);
    KeepTagNote(side, std::move(note), said);
  }
  if (side->packets.empty() && on_disk_) return;
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

void Outbox::RemoveSide(api::v1::Side id) {
  SideState* const side = Find(id);
  if (side == nullptr) return;
  for (auto* const items : {&side->packets, &side->notes}) {
    const size_t sent =
        items == &side->packets ? side->packets_sent : side->notes_sent;
    for (size_t i = 0; i < items->size(); ++i) {
      kept_bytes_ -= (*items)[i].bytes();
      if (i >= sent) unsent_bytes_ -= (*items)[i].bytes();
    }
  }
  const auto gone = [id](const SpoolItem& item) { return item.side == id; };
  for (const SpoolItem& item : tail_) {
    if (!gone(item)) continue;
    kept_bytes_ -= item.bytes();
    tail_bytes_ -= item.bytes();
  }
  std::erase_if(tail_, gone);
  std::erase_if(unwritten_, gone);
  removed_[id] = counters()[id];
  sides_.erase(id);
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
    const SpoolItem& entry = side.packets[side.packets_sent + *taken];
    if (entry.tracks_version != side.told_tracks) return batch;
    bytes += entry.bytes();
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
    SpoolItem& item = side->notes[side->notes_sent];
    bytes += item.bytes();
    if (notes->notes_size() > 0 && bytes > kNotesMessage_bytes) return;
    if (item.note->has_source_digest()) SignStatement(id, side, &item);
    api::v1::Note* const note = notes->add_notes();
    *note = *item.note;
    note->set_note_sequence(item.number);
    ++side->notes_sent;
    unsent_bytes_ -= item.bytes();
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
  const SpoolItem& first = side->packets[side->packets_sent];
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
  for (const SpoolItem* const entry : batch.packets) {
    api::v1::Packet* const packet = message.mutable_packets()->add_packets();
    *packet = *entry->packet;
    packet->set_sequence(entry->number);
    SideState* const sender = Find(entry->side);
    const bool again = entry->number <= sender->highest_sent;
    ++(again ? sender->counters.sent_again : sender->counters.sent);
    if (!again) sender->highest_sent = entry->number;
    unsent_bytes_ -= entry->bytes();
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
  return !on_disk_ && FindNext({}).kind == Next::Kind::kNothing;
}

bool Outbox::waits_for_durable() const {
  for (const auto& [id, side] : sides_) {
    if (side.packets_sent > 0 || side.notes_sent > 0) return true;
  }
  return false;
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
