#ifndef TOOLS_GATEWAY_OUTBOX_H_
#define TOOLS_GATEWAY_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/source_runs.h"
#include "tools/gateway/source_signer.h"
#include "tools/gateway/spool_item.h"

namespace diptych::gateway {

// Packets of one side, counted.
struct SideCounters {
  // Taken from the caller, or found in the spool of an earlier process.
  uint64_t accepted = 0;
  // Sent for the first time, and again.
  uint64_t sent = 0;
  uint64_t sent_again = 0;
  // Durable, says the archive; never more than `accepted`.
  uint64_t acknowledged = 0;
  // Written to the spool by this process.
  uint64_t spooled = 0;
  // Refused to the caller because memory and spool were full.
  uint64_t dropped = 0;
  // Signed statements that were sent, and the packets that they speak of.
  uint64_t statements = 0;
  uint64_t signed_packets = 0;
};

// How a session states what it sends.
struct SourceSigning {
  // Null: nothing is signed.
  std::shared_ptr<const SourceSigner> signer;
  base::Uuid session_id;
  // The caller may send the same packets and notes again in another process:
  // statements lie at places that the packets alone tell, since each takes a
  // note's number.
  bool repeatable = false;
  // Must outlive the session.
  base::Clock* clock = base::Clock::Real();
};

// What an earlier process sent and nobody has stated, by sides: what the end of
// its spool says.
using SpoolTail = std::map<api::v1::Side, SourceRuns>;

// Takes the next items of a spool, in their order.
void TakeIntoTail(const std::vector<SpoolItem>& items,
                  const std::vector<Renumbering>& renumberings,
                  SpoolTail* tail);

// What a stream has to say, numbered, kept until it is durable. With a signer
// it adds the statements about it: each as a note behind the packets that it
// speaks of, signed when it is first sent, as only then its numbers are final.
// Pure bookkeeping: no threads, no network, no disk. With a spool its items lie
// in three places, oldest first: in memory to be sent, on disk alone, and in
// memory again. Not thread-safe.
class Outbox {
 public:
  // `spooling`: somebody calls Unwritten, MarkAppended, MarkSynced and, if
  // needed, Refill.
  explicit Outbox(const std::vector<api::v1::OpenSide>& sides,
                  bool spooling = false, SourceSigning signing = {});

  // Goes on with what a spool holds, all of it on disk alone; what was added
  // already comes behind it. Before anything is sent. `tail` is stated first.
  void Recover(const SpoolState& oldest, const SpoolState& newest,
               SpoolTail tail = {});

  // `now` is any clock that never goes back. `payload_sha256` is that of the
  // payload, if the caller has it.
  void AddPacket(api::v1::Side side, api::v1::Packet packet, absl::Duration now,
                 std::string payload_sha256 = {});
  // RESOURCE_EXHAUSTED beyond limits::kMaxTagNotes tag notes.
  absl::Status AddNote(api::v1::Side side, api::v1::Note note,
                       absl::Duration now = absl::ZeroDuration());
  // Of the packets that are added from now on.
  void AddTracks(api::v1::Side side, const std::vector<api::v1::Track>& tracks,
                 absl::Duration now = absl::ZeroDuration());
  void CountDropped(api::v1::Side side);

  // States what was added and not stated yet: of sides for which that is due,
  // or, with `all`, of every one. True if there was something to state.
  bool AddStatements(absl::Duration now, bool all);
  // When statements are due though no packet comes; nullopt if never.
  std::optional<absl::Duration> StatementsDueAt() const;

  // The sides as a new stream declares them: each with the tracks of the first
  // packet that is not durable.
  std::vector<api::v1::OpenSide> OpenSides();

  // The new stream begins after `progress`: what is durable goes, everything
  // else will be sent (again), after the tags in force. DATA_LOSS if the
  // archive asks for what it had called durable.
  absl::Status Resume(const std::vector<api::v1::SideProgress>& progress);

  // Lets go of what has become durable.
  void MarkDurable(const api::v1::SideProgress& progress);

  // The session was closed and has so much of a side; of notes a receipt says
  // nothing, they count with the packets. Numbers that were never settled were
  // never sent: the archive's own can't mean them.
  void Conclude(api::v1::Side side, uint64_t final_sequence);
  // Every packet and note of every side is durable.
  bool all_durable() const;

  // Takes a side out of the traffic for good.
  void RemoveSide(api::v1::Side side);

  // The next message; nullopt if there is none, or if its packets should wait
  // for more: they do so for limits::kBatchMax, unless `flush`.
  std::optional<api::v1::RecordRequest> NextMessage(absl::Duration now,
                                                    bool flush);
  // When NextMessage would no longer wait; nullopt if nothing is there.
  std::optional<absl::Duration> NextDeadline() const;

  bool everything_sent() const;
  // Something was sent that is not durable.
  bool waits_for_durable() const;
  // Nothing is kept, in memory or on disk.
  bool nothing_left() const { return kept_bytes_ == 0 && !on_disk_; }
  // In memory, sent or not.
  size_t kept_bytes() const { return kept_bytes_; }
  bool empty() const { return sides_.empty(); }

  // ---- For a spool ----
  // What is to be written: added before `before` (tags and tracks at once), not
  // durable, not appended, at most about `max_bytes`, in order.
  std::vector<SpoolItem> Unwritten(absl::Duration before, size_t max_bytes);
  // These, which Unwritten has given, are handed to the disk.
  void MarkAppended(const std::vector<SpoolItem>& items);
  // All that was appended is safe on disk: memory may let go of it.
  void MarkSynced();
  // What was appended since MarkSynced may not be there: it is unwritten again.
  void MarkLost();
  // Brings memory down to `target_bytes`, as far as what is there is on disk
  // and not on its way.
  void Evict(size_t target_bytes);
  // Items on disk alone are next, and under `low_bytes` are left to send, and
  // no more than four times that awaits its answer.
  bool WantsRefill(size_t low_bytes) const;
  // The next ones from the disk; empty: that were all. FAILED_PRECONDITION if
  // there are statements of an earlier process among them and nobody to sign.
  absl::Status Refill(std::vector<SpoolItem> items, absl::Duration now);
  // Where Refill goes on, if that is not behind what it was given last.
  std::optional<uint64_t> TakeSeek();
  // All, from the session's beginning on.
  const std::vector<Renumbering>& renumberings() const { return renumberings_; }
  // The first `count` of them are safe on disk.
  void MarkRenumbered(size_t count);
  // Some are not on disk: nothing may be sent under numbers that a crash would
  // forget.
  bool has_renumberings() const {
    return renumberings_written_ < renumberings_.size();
  }

  std::vector<api::v1::CloseSide> CloseSides() const;
  api::v1::SideProgress durable(api::v1::Side side) const;
  std::map<api::v1::Side, SideCounters> counters() const;

 private:
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
    std::deque<SpoolItem> packets;
    size_t packets_sent = 0;
    std::deque<SpoolItem> notes;
    size_t notes_sent = 0;
    std::deque<TagNote> tag_notes;
    uint64_t last_sequence = 0;
    uint64_t last_note = 0;
    uint64_t durable_sequence = 0;
    uint64_t durable_note = 0;
    // Numbers above these await the archive's first answer.
    bool provisional = false;
    uint64_t provisional_after = 0;
    uint64_t provisional_note_after = 0;
    // The packet before the first one that counts.
    uint64_t first_after = 0;
    uint64_t highest_sent = 0;
    SourceRuns runs;
    uint64_t highest_statement = 0;
    SideCounters counters;
  };
  // What is unsent and has the lowest order.
  struct Next {
    enum class Kind { kNothing, kPacket, kNote };
    Kind kind = Kind::kNothing;
    api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
  };
  // The packets that may go in one message.
  struct Batch {
    std::vector<const SpoolItem*> packets;
    std::map<api::v1::Side, size_t> per_side;
    // Nothing that comes later can join it.
    bool closed = false;
  };

  SideState* Find(api::v1::Side side);
  void KeepTracks(api::v1::Side side, const Tracks& tracks);
  bool AddStatementsOf(api::v1::Side id, SideState* side, SourceRuns* runs,
                       absl::Duration now);
  void SignStatement(api::v1::Side id, SideState* side, SpoolItem* item);
  // Numbered already; takes it into memory.
  void Keep(SpoolItem item);
  void PutInWindow(SpoolItem item);
  bool IsDurable(const SpoolItem& item);
  Next FindNext(const std::map<api::v1::Side, size_t>& skip_packets) const;
  Batch GatherBatch() const;
  // Lets go of what is durable.
  void Trim(SideState* side);
  // After the archive's first answer.
  void Settle(api::v1::Side id, SideState* side,
              const api::v1::SideProgress& had);
  static void KeepTagNote(SideState* side, api::v1::Note note, bool said);
  bool TakeTagsAgain(api::v1::RecordRequest* message);
  void TakeNotes(api::v1::Side id, api::v1::RecordRequest* message);
  void EvictWindow(size_t target_bytes);
  void ForgetDurableUnwritten();

  const bool spooling_;
  const SourceSigning signing_;
  std::map<api::v1::Side, SideState> sides_;
  uint64_t next_order_ = 0;
  size_t kept_bytes_ = 0;
  // Kept, and not sent on the present stream.
  size_t unsent_bytes_ = 0;

  // Items from disk_from_ to before disk_to_ are on disk alone; what is newer
  // is in tail_ then.
  bool on_disk_ = false;
  uint64_t disk_from_ = 0;
  uint64_t disk_to_ = 0;
  std::deque<SpoolItem> tail_;
  size_t tail_bytes_ = 0;
  // Not on disk yet; shared with the window and tail_.
  std::deque<SpoolItem> unwritten_;
  std::optional<uint64_t> seek_;
  // All before it are safe on disk, or durable.
  uint64_t written_to_ = 0;
  // Of unwritten_, all before it are handed to the disk.
  uint64_t appended_to_ = 0;
  // Packets before it are counted as spooled.
  uint64_t counted_to_ = 0;
  std::vector<Renumbering> renumberings_;
  size_t renumberings_written_ = 0;
  std::map<api::v1::Side, SideCounters> removed_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_OUTBOX_H_
