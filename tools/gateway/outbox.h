#ifndef TOOLS_GATEWAY_OUTBOX_H_
#define TOOLS_GATEWAY_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {

// What a stream has to say, numbered, kept until it is durable. Pure
// bookkeeping: no threads, no network. Not thread-safe.
class Outbox {
 public:
  explicit Outbox(const std::vector<api::v1::OpenSide>& sides);

  // `now` is any clock that never goes back.
  void AddPacket(api::v1::Side side, api::v1::Packet packet,
                 absl::Duration now);
  // RESOURCE_EXHAUSTED beyond limits::kMaxTagNotes tag notes.
  absl::Status AddNote(api::v1::Side side, api::v1::Note note);
  // Of the packets that are added from now on.
  void AddTracks(api::v1::Side side, const std::vector<api::v1::Track>& tracks);

  // The sides as a new stream declares them: each with the tracks of the first
  // packet that is not durable.
  std::vector<api::v1::OpenSide> OpenSides();

  // The new stream begins after `progress`: what is durable goes, everything
  // else will be sent (again), after the tags in force. DATA_LOSS if the
  // archive asks for what it had called durable.
  absl::Status Resume(const std::vector<api::v1::SideProgress>& progress);

  // Lets go of what has become durable.
  void MarkDurable(const api::v1::SideProgress& progress);

  // Takes a side out of the traffic for good.
  void RemoveSide(api::v1::Side side);

  // The next message; nullopt if there is none, or if its packets should wait
  // for more: they do so for limits::kBatchMax, unless `flush`.
  std::optional<api::v1::RecordRequest> NextMessage(absl::Duration now,
                                                    bool flush);
  // When NextMessage would no longer wait; nullopt if nothing is there.
  std::optional<absl::Duration> NextDeadline() const;

  bool everything_sent() const;
  // Sent or not, kept for the sake of a break.
  size_t kept_bytes() const { return kept_bytes_; }
  bool empty() const { return sides_.empty(); }

  std::vector<api::v1::CloseSide> CloseSides() const;
  api::v1::SideProgress durable(api::v1::Side side) const;

 private:
  // `order` counts over both sides, so that all leaves in the order in which it
  // came.
  struct PacketEntry {
    uint64_t order = 0;
    absl::Duration added;
    uint32_t tracks_version = 0;
    api::v1::Packet packet;
  };
  struct NoteEntry {
    uint64_t order = 0;
    api::v1::Note note;
  };
  // A durable tag note that is part of the tags in force.
  struct TagNote {
    api::v1::Note note;
    // On the present stream.
    bool said = false;
  };
  using Tracks = std::vector<api::v1::Track>;
  struct SideState {
    std::map<uint32_t, Tracks> tracks;
    uint32_t newest_tracks = 0;
    // What the stream was told last.
    uint32_t told_tracks = 0;
    std::deque<PacketEntry> packets;
    size_t packets_sent = 0;
    std::deque<NoteEntry> notes;
    size_t notes_sent = 0;
    std::deque<TagNote> tag_notes;
    uint64_t last_sequence = 0;
    uint64_t last_note = 0;
    uint64_t durable_sequence = 0;
    uint64_t durable_note = 0;
  };
  // What is unsent and has the lowest order.
  struct Next {
    enum class Kind { kNothing, kPacket, kNote };
    Kind kind = Kind::kNothing;
    api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
  };
  // The packets that may go in one message.
  struct Batch {
    std::vector<const PacketEntry*> packets;
    std::map<api::v1::Side, size_t> per_side;
    // Nothing that comes later can join it.
    bool closed = false;
  };

  SideState* Find(api::v1::Side side);
  Next FindNext(const std::map<api::v1::Side, size_t>& skip_packets) const;
  Batch GatherBatch() const;
  // Lets go of what is durable.
  void Trim(SideState* side);
  static void KeepTagNote(SideState* side, api::v1::Note note, bool said);
  bool TakeTagsAgain(api::v1::RecordRequest* message);
  void TakeNotes(api::v1::Side id, api::v1::RecordRequest* message);

  std::map<api::v1::Side, SideState> sides_;
  uint64_t next_order_ = 0;
  size_t kept_bytes_ = 0;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_OUTBOX_H_
