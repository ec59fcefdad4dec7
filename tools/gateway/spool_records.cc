#include "tools/gateway/spool_records.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"

namespace diptych::gateway {
namespace {

// Above the kinds of items.
constexpr uint8_t kRenumbering = 4;
constexpr uint8_t kSession = 5;
constexpr uint8_t kSide = 6;
constexpr uint8_t kTagInForce = 7;

void Put(uint64_t value, int bytes, std::string* out) {
  for (int i = 0; i < bytes; ++i) {
    out->push_back(static_cast<char>(value >> (8 * i)));
  }
}

// Takes what Put has put; 0 where nothing is left.
uint64_t Take(int bytes, absl::string_view* in) {
  uint64_t value = 0;
  for (int i = std::min<int>(bytes, static_cast<int>(in->size())) - 1; i >= 0;
       --i) {
    value = value << 8 | static_cast<uint8_t>((*in)[i]);
  }
  in->remove_prefix(std::min<size_t>(bytes, in->size()));
  return value;
}

void PutRecord(uint8_t kind, const SpoolItem& item, absl::string_view body,
               std::string* out) {
  Put(kind, 1, out);
  Put(static_cast<uint8_t>(item.side), 1, out);
  Put(item.generation, 4, out);
  Put(item.tracks_version, 4, out);
  Put(item.order, 8, out);
  Put(item.number, 8, out);
  Put(body.size(), 4, out);
  out->append(body.data(), body.size());
}

template <typename Message>
std::shared_ptr<const Message> Parse(absl::string_view body, bool* good) {
  auto message = std::make_shared<Message>();
  *good = message->ParseFromArray(body.data(), static_cast<int>(body.size()));
  return message;
}

std::string Renumbers(const Renumbering& renumbering) {
  std::string body;
  for (const uint64_t value :
       {renumbering.after, renumbering.delta, renumbering.note_after,
        renumbering.note_delta}) {
    Put(value, 8, &body);
  }
  return body;
}

void TakeSide(api::v1::Side id, absl::string_view body, SpoolState* state,
              bool* good) {
  SpoolState::SideState& side = state->sides[id];
  side.tracks_version = static_cast<uint32_t>(Take(4, &body));
  side.last_sequence = Take(8, &body);
  side.last_note = Take(8, &body);
  side.durable_sequence = Take(8, &body);
  side.durable_note = Take(8, &body);
  side.provisional = Take(1, &body) != 0;
  side.provisional_after = Take(8, &body);
  side.provisional_note_after = Take(8, &body);
  side.tracks = *Parse<api::v1::OpenSide>(body, good);
}

}  // namespace

void AppendSpoolItem(const SpoolItem& item, std::string* block) {
  std::string body;
  if (item.packet != nullptr) body = item.packet->SerializeAsString();
  if (item.note != nullptr) body = item.note->SerializeAsString();
  if (item.tracks != nullptr) body = item.tracks->SerializeAsString();
  PutRecord(static_cast<uint8_t>(item.kind), item, body, block);
}

void AppendRenumbering(const Renumbering& renumbering, std::string* block) {
  PutRecord(kRenumbering, {.side = renumbering.side}, Renumbers(renumbering),
            block);
}

std::string EncodeSpoolState(const SpoolState& state) {
  std::string block;
  std::string body(state.session_id.bytes());
  Put(static_cast<uint64_t>(absl::ToUnixMicros(state.start_time)), 8, &body);
  PutRecord(kSession, {.order = state.next_order}, body, &block);
  for (const auto& [id, side] : state.sides) {
    body.clear();
    Put(side.tracks_version, 4, &body);
    Put(side.last_sequence, 8, &body);
    Put(side.last_note, 8, &body);
    Put(side.durable_sequence, 8, &body);
    Put(side.durable_note, 8, &body);
    Put(side.provisional ? 1 : 0, 1, &body);
    Put(side.provisional_after, 8, &body);
    Put(side.provisional_note_after, 8, &body);
    body += side.tracks.SerializeAsString();
    PutRecord(kSide, {.side = id}, body, &block);
    for (const api::v1::Note& note : side.tag_notes) {
      PutRecord(kTagInForce, {.side = id}, note.SerializeAsString(), &block);
    }
  }
  // Those are of the past: the sides above know of them already.
  for (const Renumbering& renumbering : state.renumberings) {
    PutRecord(kRenumbering, {.side = renumbering.side, .number = 1},
              Renumbers(renumbering), &block);
  }
  return block;
}

void FoldSpoolItem(const SpoolItem& item, SpoolState* state) {
  // There already, written again after an error.
  if (item.order < state->next_order) return;
  SpoolItem numbered = item;
  Renumber(state->renumberings, &numbered);
  SpoolState::SideState& side = state->sides[item.side];
  state->next_order = std::max(state->next_order, item.order + 1);
  switch (item.kind) {
    case SpoolItem::Kind::kPacket:
      side.last_sequence = std::max(side.last_sequence, numbered.number);
      return;
    case SpoolItem::Kind::kNote:
      side.last_note = std::max(side.last_note, numbered.number);
      if (item.note->has_tag()) {
        api::v1::Note note = *item.note;
        note.set_note_sequence(numbered.number);
        KeepTagNote(&side.tag_notes, std::move(note));
      }
      return;
    case SpoolItem::Kind::kTracks:
      side.tracks = *item.tracks;
      side.tracks_version = item.tracks_version;
      return;
  }
}

void FoldRenumbering(const Renumbering& renumbering, SpoolState* state) {
  state->renumberings.push_back(renumbering);
  SpoolState::SideState& side = state->sides[renumbering.side];
  side.provisional = false;
  // Also if nothing above it was written: the archive has these numbers.
  if (side.last_sequence >= renumbering.after) {
    side.last_sequence += renumbering.delta;
  }
  if (side.last_note >= renumbering.note_after) {
    side.last_note += renumbering.note_delta;
  }
  for (api::v1::Note& note : side.tag_notes) {
    if (note.note_sequence() > renumbering.note_after) {
      note.set_note_sequence(note.note_sequence() + renumbering.note_delta);
    }
  }
}

absl::Status DecodeSpoolBlock(absl::string_view block, SpoolState* state,
                              std::vector<SpoolItem>* items) {
  const absl::Status wrong =
      base::IntegrityError("a block of the spool is not in its form");
  while (!block.empty()) {
    SpoolItem item;
    const auto kind = static_cast<uint8_t>(Take(1, &block));
    item.side = static_cast<api::v1::Side>(Take(1, &block));
    item.generation = static_cast<uint32_t>(Take(4, &block));
    item.tracks_version = static_cast<uint32_t>(Take(4, &block));
    item.order = Take(8, &block);
    item.number = Take(8, &block);
    const uint64_t size = Take(4, &block);
    if (size > block.size()) return wrong;
    absl::string_view body = block.substr(0, size);
    block.remove_prefix(size);
    bool good = true;
    switch (kind) {
      case kRenumbering: {
        Renumbering renumbering = {.side = item.side};
        renumbering.after = Take(8, &body);
        renumbering.delta = Take(8, &body);
        renumbering.note_after = Take(8, &body);
        renumbering.note_delta = Take(8, &body);
        if (item.number == 1) {
          state->renumberings.push_back(renumbering);
        } else {
          FoldRenumbering(renumbering, state);
        }
        continue;
      }
      case kSession: {
        *state = SpoolState();
        const auto id = base::Uuid::FromBytes(body.substr(0, 16));
        if (!id.ok()) return wrong;
        body.remove_prefix(16);
        state->session_id = *id;
        state->start_time =
            absl::FromUnixMicros(static_cast<int64_t>(Take(8, &body)));
        state->next_order = item.order;
        continue;
      }
      case kSide:
        TakeSide(item.side, body, state, &good);
        if (!good) return wrong;
        continue;
      case kTagInForce: {
        const auto note = Parse<api::v1::Note>(body, &good);
        if (!good) return wrong;
        state->sides[item.side].tag_notes.push_back(*note);
        continue;
      }
      case static_cast<uint8_t>(SpoolItem::Kind::kPacket):
        item.packet = Parse<api::v1::Packet>(body, &good);
        break;
      case static_cast<uint8_t>(SpoolItem::Kind::kNote):
        item.note = Parse<api::v1::Note>(body, &good);
        break;
      case static_cast<uint8_t>(SpoolItem::Kind::kTracks):
        item.tracks = Parse<api::v1::OpenSide>(body, &good);
        break;
      default:
        return wrong;
    }
    if (!good) return wrong;
    item.kind = static_cast<SpoolItem::Kind>(kind);
    FoldSpoolItem(item, state);
    if (items != nullptr) items->push_back(std::move(item));
  }
  return absl::OkStatus();
}

}  // namespace diptych::gateway
