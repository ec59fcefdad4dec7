#ifndef TOOLS_GATEWAY_SPOOL_ITEM_H_
#define TOOLS_GATEWAY_SPOOL_ITEM_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {

// One thing that a side has to say: a packet, a note, or its tracks from here
// on. The content is shared, so that it may be written to disk without a lock.
struct SpoolItem {
  enum class Kind : uint8_t { kPacket = 1, kNote = 2, kTracks = 3 };

  size_t bytes() const;

  Kind kind = Kind::kPacket;
  api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
  // Counts over both sides, in the order in which all came.
  uint64_t order = 0;
  // The packet's sequence or the note's; 0 for tracks.
  uint64_t number = 0;
  // Of the renumberings, how many `number` knows of.
  uint32_t generation = 0;
  uint32_t tracks_version = 0;
  absl::Duration added;
  // The one that `kind` says; without its number.
  std::shared_ptr<const api::v1::Packet> packet;
  std::shared_ptr<const api::v1::Note> note;
  std::shared_ptr<const api::v1::OpenSide> tracks;
};

// A process that goes on with another one's session can't know how much of it
// the archive has. It numbers from what it knows, and once the archive has said
// it, numbers above `after` grow by `delta`.
struct Renumbering {
  api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
  uint64_t after = 0;
  uint64_t delta = 0;
  uint64_t note_after = 0;
  uint64_t note_delta = 0;
};

// `item`'s number, as all renumberings make it.
void Renumber(const std::vector<Renumbering>& all, SpoolItem* item);

// Keeps of a side's tag notes those that are in force.
void KeepTagNote(std::vector<api::v1::Note>* notes, api::v1::Note note);

// What a spool's files amount to.
struct SpoolState {
  struct SideState {
    api::v1::OpenSide tracks;
    uint32_t tracks_version = 0;
    uint64_t last_sequence = 0;
    uint64_t last_note = 0;
    uint64_t durable_sequence = 0;
    uint64_t durable_note = 0;
    // Numbers above these await their renumbering.
    bool provisional = false;
    uint64_t provisional_after = 0;
    uint64_t provisional_note_after = 0;
    std::vector<api::v1::Note> tag_notes;
  };
  base::Uuid session_id;
  absl::Time start_time;
  uint64_t next_order = 0;
  std::map<api::v1::Side, SideState> sides;
  std::vector<Renumbering> renumberings;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SPOOL_ITEM_H_
