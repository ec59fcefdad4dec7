// The part of the outbox that has to do with a spool.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/outbox.h"
#include "tools/gateway/source_runs.h"
#include "tools/gateway/spool_item.h"

namespace diptych::gateway {

void Outbox::Recover(const SpoolState& oldest, const SpoolState& newest,
                     SpoolTail tail) {
  // What came before anybody knew of the spool is numbered anew, behind it.
  std::deque<SpoolItem> early;
  early.swap(unwritten_);
  for (auto& [id, side] : sides_) {
    side.packets.clear();
    side.notes.clear();
  }
  kept_bytes_ = unsent_bytes_ = 0;
  next_order_ = disk_to_ = written_to_ = counted_to_ = newest.next_order;
  appended_to_ = 0;
  on_disk_ = next_order_ > 0;
  renumberings_ = newest.renumberings;
  renumberings_written_ = renumberings_.size();
  // By how much the numbers of what was added already grow.
  std::map<api::v1::Side, uint64_t> early_moved;
  for (auto& [id, side] : sides_) {
    const auto last = newest.sides.find(id);
    const auto first = oldest.sides.find(id);
    if (last == newest.sides.end() || first == oldest.sides.end()) continue;
    const Tracks given = side.tracks.begin()->second;
    side.tracks.clear();
    const auto put = [&](const SpoolState::SideState& known) {
      side.tracks[known.tracks_version] =
          Tracks(known.tracks.tracks().begin(), known.tracks.tracks().end());
    };
    put(first->second);
    put(last->second);
    side.newest_tracks = last->second.tracks_version;
    side.last_sequence = last->second.last_sequence;
    side.last_note = last->second.last_note;
    side.durable_sequence = last->second.durable_sequence;
    side.durable_note = last->second.durable_note;
    side.first_after = side.highest_sent = side.durable_sequence;
    side.counters.accepted = side.last_sequence - side.durable_sequence;
    side.provisional = true;
    side.provisional_after = last->second.provisional
                                 ? last->second.provisional_after
                                 : side.last_sequence;
    side.provisional_note_after = last->second.provisional
                                      ? last->second.provisional_note_after
                                      : side.last_note;
    for (const api::v1::Note& note : last->second.tag_notes) {
      if (note.note_sequence() <= side.durable_note) {
        KeepTagNote(&side, note, /*said=*/false);
      }
    }
    // Statements of what lies in the spool end where the numbers are not ours
    // to say: what follows may get others.
    if (signing_.signer != nullptr) {
      AddStatementsOf(id, &side, &tail[id], absl::ZeroDuration());
    }
    side.runs.Move(side.last_sequence);
    early_moved[id] = side.last_sequence;
    // The caller's tracks, from its first packet on.
    const auto same = [](const api::v1::Track& a, const api::v1::Track& b) {
      return a.SerializeAsString() == b.SerializeAsString();
    };
    const Tracks& known = side.tracks[side.newest_tracks];
    if (!given.empty() && !std::equal(given.begin(), given.end(), known.begin(),
                                      known.end(), same)) {
      KeepTracks(id, given);
    }
  }
  for (SpoolItem& item : early) {
    SideState* const side = Find(item.side);
    item.order = next_order_++;
    item.generation = static_cast<uint32_t>(renumberings_.size());
    if (item.tracks != nullptr) {
      const auto& tracks = item.tracks->tracks();
      KeepTracks(item.side, Tracks(tracks.begin(), tracks.end()));
      continue;
    }
    if (item.note != nullptr && item.note->has_source_digest()) {
      auto note = std::make_shared<api::v1::Note>(*item.note);
      RenumberStatement(0, early_moved[item.side],
                        note->mutable_source_digest());
      item.note = std::move(note);
    }
    if (item.packet != nullptr) {
      ++side->counters.accepted;
      item.tracks_version = side->newest_tracks;
    }
    item.number =
        item.packet != nullptr ? ++side->last_sequence : ++side->last_note;
    Keep(std::move(item));
  }
}

void Outbox::Settle(api::v1::Side id, SideState* side,
                    const api::v1::SideProgress& had) {
  side->provisional = false;
  Renumbering renumbering = {.side = id,
                             .after = side->provisional_after,
                             .note_after = side->provisional_note_after};
  if (had.sequence() > renumbering.after) {
    renumbering.delta = had.sequence() - renumbering.after;
  }
  if (had.note_sequence() > renumbering.note_after) {
    renumbering.note_delta = had.note_sequence() - renumbering.note_after;
  }
  renumberings_.push_back(renumbering);
  side->last_sequence += renumbering.delta;
  side->last_note += renumbering.note_delta;
  // What an earlier process sent and did not keep is not ours to count.
  side->first_after += renumbering.delta;
  side->runs.Renumber(renumbering.after, renumbering.delta);
  for (auto* const items :
       {&side->packets, &side->notes, &tail_, &unwritten_}) {
    for (SpoolItem& item : *items) Renumber(renumberings_, &item);
  }
}

void Outbox::MarkRenumbered(size_t count) {
  renumberings_written_ = std::max(renumberings_written_, count);
}

void Outbox::Conclude(api::v1::Side id, uint64_t final_sequence) {
  SideState* const side = Find(id);
  if (side == nullptr) return;
  api::v1::SideProgress covered;
  covered.set_side(id);
  covered.set_sequence(
      side->provisional
          ? std::min<uint64_t>(final_sequence, side->provisional_after)
          : final_sequence);
  side->provisional = false;
  if (covered.sequence() >= side->last_sequence) {
    covered.set_note_sequence(side->last_note);
  }
  MarkDurable(covered);
}

bool Outbox::all_durable() const {
  for (const auto& [id, side] : sides_) {
    if (side.last_sequence > side.durable_sequence ||
        side.last_note > side.durable_note) {
      return false;
    }
  }
  return true;
}

bool Outbox::IsDurable(const SpoolItem& item) {
  const SideState* const side = Find(item.side);
  if (side == nullptr) return true;
  if (side->provisional || item.kind == SpoolItem::Kind::kTracks) return false;
  return item.number <=
         (item.packet != nullptr ? side->durable_sequence : side->durable_note);
}

std::vector<SpoolItem> Outbox::Unwritten(absl::Duration before,
                                         size_t max_bytes) {
  std::vector<SpoolItem> items;
  size_t bytes = 0;
  for (const SpoolItem& item : unwritten_) {
    if (bytes >= max_bytes) break;
    if (item.order < appended_to_) continue;
    if (item.packet != nullptr && item.added > before) break;
    // A tag is needed again even if it is durable.
    if (IsDurable(item) && !(item.note != nullptr && item.note->has_tag())) {
      continue;
    }
    bytes += item.bytes();
    items.push_back(item);
  }
  return items;
}

void Outbox::ForgetDurableUnwritten() {
  std::erase_if(unwritten_, [this](const SpoolItem& item) {
    const bool tag = item.note != nullptr && item.note->has_tag();
    return !tag && IsDurable(item);
  });
  // Never past something that only memory has: a tag, tracks, a note.
  written_to_ = std::max(
      written_to_, unwritten_.empty() ? next_order_ : unwritten_.front().order);
}

std::optional<uint64_t> Outbox::TakeSeek() {
  return std::exchange(seek_, std::nullopt);
}

void Outbox::MarkAppended(const std::vector<SpoolItem>& items) {
  if (items.empty()) return;
  appended_to_ = std::max(appended_to_, items.back().order + 1);
  for (const SpoolItem& item : items) {
    if (item.order < counted_to_) continue;
    counted_to_ = item.order + 1;
    SideState* const side = Find(item.side);
    if (side != nullptr && item.packet != nullptr) ++side->counters.spooled;
  }
}

void Outbox::MarkSynced() {
  while (!unwritten_.empty() && unwritten_.front().order < appended_to_) {
    unwritten_.pop_front();
  }
  written_to_ = std::max(written_to_, appended_to_);
}

void Outbox::MarkLost() { appended_to_ = 0; }

void Outbox::Evict(size_t target_bytes) {
  if (kept_bytes_ <= target_bytes) return;
  if (!on_disk_) EvictWindow(target_bytes);
  while (on_disk_ && !tail_.empty() && tail_.front().order < written_to_) {
    kept_bytes_ -= tail_.front().bytes();
    tail_bytes_ -= tail_.front().bytes();
    tail_.pop_front();
  }
  if (on_disk_) disk_to_ = std::max(disk_to_, written_to_);
}

void Outbox::EvictWindow(size_t target_bytes) {
  // The unsent ones in their order; the first half of the target stays.
  std::vector<std::pair<uint64_t, size_t>> unsent;
  for (const auto& [id, side] : sides_) {
    for (size_t i = side.packets_sent; i < side.packets.size(); ++i) {
      unsent.emplace_back(side.packets[i].order, side.packets[i].bytes());
    }
    for (size_t i = side.notes_sent; i < side.notes.size(); ++i) {
      unsent.emplace_back(side.notes[i].order, side.notes[i].bytes());
    }
  }
  std::sort(unsent.begin(), unsent.end());
  size_t stays_bytes = 0;
  size_t stays = 0;
  while (stays < unsent.size() && stays_bytes < target_bytes / 2) {
    stays_bytes += unsent[stays++].second;
  }
  if (stays == unsent.size() || unsent[stays].first >= written_to_) return;
  const uint64_t cut = unsent[stays].first;
  on_disk_ = true;
  disk_from_ = cut;
  seek_ = cut;
  disk_to_ = written_to_;
  for (auto& [id, side] : sides_) {
    for (auto* const items : {&side.packets, &side.notes}) {
      while (!items->empty() && items->back().order >= cut) {
        SpoolItem item = std::move(items->back());
        items->pop_back();
        unsent_bytes_ -= item.bytes();
        if (item.order >= disk_to_) {
          tail_bytes_ += item.bytes();
          tail_.push_back(std::move(item));
        } else {
          kept_bytes_ -= item.bytes();
        }
      }
    }
  }
  std::sort(
      tail_.begin(), tail_.end(),
      [](const SpoolItem& a, const SpoolItem& b) { return a.order < b.order; });
}

bool Outbox::WantsRefill(size_t low_bytes) const {
  return on_disk_ && unsent_bytes_ < low_bytes &&
         kept_bytes_ - tail_bytes_ - unsent_bytes_ < 4 * low_bytes;
}

absl::Status Outbox::Refill(std::vector<SpoolItem> items, absl::Duration now) {
  const bool end = items.empty();
  for (SpoolItem& item : items) {
    // Before: said already. Behind: it is in memory as well.
    if (item.order < disk_from_ || item.order >= disk_to_) continue;
    disk_from_ = item.order + 1;
    Renumber(renumberings_, &item);
    item.added = now;
    SideState* const side = Find(item.side);
    if (side == nullptr) continue;
    if (item.tracks != nullptr) {
      side->tracks[item.tracks_version] =
          Tracks(item.tracks->tracks().begin(), item.tracks->tracks().end());
    } else if (!IsDurable(item)) {
      if (signing_.signer == nullptr && item.note != nullptr &&
          item.note->has_source_digest()) {
        return absl::FailedPreconditionError(
            "the spool holds statements that an earlier process would have "
            "signed: there is no source key to sign them with");
      }
      PutInWindow(std::move(item));
    }
  }
  if (!end && disk_from_ < disk_to_) return absl::OkStatus();
  on_disk_ = false;
  std::deque<SpoolItem> tail;
  tail.swap(tail_);
  tail_bytes_ = 0;
  for (SpoolItem& item : tail) {
    kept_bytes_ -= item.bytes();
    if (!IsDurable(item)) PutInWindow(std::move(item));
  }
  return absl::OkStatus();
}

std::map<api::v1::Side, SideCounters> Outbox::counters() const {
  std::map<api::v1::Side, SideCounters> all = removed_;
  for (const auto& [id, side] : sides_) {
    SideCounters& counters = all[id] = side.counters;
    const uint64_t reached =
        std::min(side.durable_sequence, side.last_sequence);
    counters.acknowledged = side.provisional || reached < side.first_after
                                ? 0
                                : reached - side.first_after;
  }
  return all;
}

}  // namespace diptych::gateway
