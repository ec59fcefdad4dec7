#include "tools/gateway/spool_item.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/source_runs.h"

namespace diptych::gateway {
namespace {

// What an item takes beside its bytes; roughly.
constexpr size_t kItem_bytes = 128;

}  // namespace

size_t SpoolItem::bytes() const {
  if (packet != nullptr) return packet->payload().size() + kItem_bytes;
  if (note != nullptr) return note->ByteSizeLong() + kItem_bytes;
  return kItem_bytes;
}

void Renumber(const std::vector<Renumbering>& all, SpoolItem* item) {
  for (; item->generation < all.size(); ++item->generation) {
    const Renumbering& next = all[item->generation];
    if (next.side != item->side) continue;
    if (item->kind == SpoolItem::Kind::kPacket && item->number > next.after) {
      item->number += next.delta;
    }
    // A note of before may state packets above: they were durable, and so were
    // never written.
    if (item->kind != SpoolItem::Kind::kNote ||
        item->number <= next.note_after) {
      continue;
    }
    item->number += next.note_delta;
    if (next.delta > 0 && item->note->has_source_digest()) {
      auto note = std::make_shared<api::v1::Note>(*item->note);
      RenumberStatement(next.after, next.delta, note->mutable_source_digest());
      item->note = std::move(note);
    }
  }
}

void KeepTagNote(std::vector<api::v1::Note>* notes, api::v1::Note note) {
  if (note.tag().operation() == api::v1::TAG_OPERATION_SET) {
    const auto overruled = [&](const api::v1::Note& earlier) {
      return earlier.tag().key() == note.tag().key();
    };
    notes->erase(std::remove_if(notes->begin(), notes->end(), overruled),
                 notes->end());
  }
  notes->push_back(std::move(note));
}

}  // namespace diptych::gateway
