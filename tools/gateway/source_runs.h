#ifndef TOOLS_GATEWAY_SOURCE_RUNS_H_
#define TOOLS_GATEWAY_SOURCE_RUNS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "archiver/evidence/merkle.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {

// The packets of one side that no statement speaks of yet, by their hashes. All
// tracks of a side get their statements together, up to the same number. Not
// thread-safe.
class SourceRuns {
 public:
  // The side's tracks from the next packet on. What tracks that are gone have
  // open is forgotten: TakeStatements comes first.
  void SetTracks(const std::vector<api::v1::Track>& tracks);

  // The side's next packet, numbered one above the last. `payload_sha256` is
  // that of its payload.
  void Add(const api::v1::Packet& packet, const std::string& payload_sha256,
           absl::Duration now);

  // Statements must be taken before this packet is added: its track's has as
  // many packets as one may have, or is limits::kSourceDigestEvery long. With
  // `repeatable` that is told from the packets alone, so that whoever sends the
  // same again gets statements at the same places; otherwise by the clock.
  bool IsDueBefore(const api::v1::Packet& packet, absl::Duration now,
                   bool repeatable) const;
  // When statements are due even if no further packet comes; nullopt if there
  // is nothing to state.
  std::optional<absl::Duration> DueAt() const;

  // Of the last packet, not below 0.
  int64_t latest_us() const { return latest_us_; }

  // One for each track that has numbers without a statement, not signed.
  std::vector<api::v1::SourceDigest> TakeStatements(absl::Time now);

  // ---- For what a spool brings back ----
  // The next packet has this number. If that leaves a hole, runs begin anew
  // behind it: nobody can state what he has not got.
  void ContinueAt(uint64_t number);
  // Forgets all hashes: runs begin at the next number.
  void BeginAnew();
  // The track has as many packets as one statement may have.
  bool IsFull(uint32_t track_id) const;
  // A statement of an earlier process speaks of what came of the track so far.
  void Covered(const api::v1::SourceDigest& digest);
  // All numbers grow.
  void Move(uint64_t delta);
  // Numbers above `after` grow.
  void Renumber(uint64_t after, uint64_t delta);

 private:
  struct Run {
    bool video = false;
    uint64_t first = 1;
    evidence::GrowingTree tree;
    int64_t first_dts_us = 0;
  };

  std::map<uint32_t, Run> runs_;
  // Of the packet that comes next.
  uint64_t next_ = 1;
  // When the oldest packet without a statement came.
  std::optional<absl::Duration> began_;
  int64_t latest_us_ = 0;
};

// The numbers of a statement, if `renumber` makes those of its packets.
void RenumberStatement(uint64_t after, uint64_t delta,
                       api::v1::SourceDigest* digest);

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SOURCE_RUNS_H_
