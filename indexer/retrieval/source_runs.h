#ifndef INDEXER_RETRIEVAL_SOURCE_RUNS_H_
#define INDEXER_RETRIEVAL_SOURCE_RUNS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "archiver/log/record.h"

namespace diptych::indexer {

// What a gateway signed of a track, as its SourceDigest record has it.
struct SignedRun {
  log::Position record = 0;
  // Numbers of the side.
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  // Of the track among them.
  uint64_t packets = 0;
  std::string root;
};

// Packets of a bundle that one statement signs, or that none does
// (archiver/evidence/BUNDLE_FORMAT.md, "Source run").
struct SourceRun {
  uint64_t packets = 0;
  std::optional<log::Position> record;
  uint64_t first = 0;
  std::vector<std::string> others;
};

// Gathers one track's source runs while its packets go by. Keeps the hashes of
// statements only until it is known which of their packets the bundle has. Not
// thread-safe.
class SourceRuns {
 public:
  // Of one track.
  explicit SourceRuns(std::vector<SignedRun> statements);

  // A packet of the track, in the bundle or not: its number, and its leaf hash
  // in the source tree. In ascending order, without a hole from the first
  // packet of any statement of which the bundle has packets.
  void Add(uint64_t sequence, std::string leaf_hash);

  // The bundle has the packets [begin, end) of those that were added, counted
  // from 0, and later perhaps more; `begin` never changes.
  void Include(uint64_t begin, uint64_t end);

  // The runs of the packets that were included last. A statement that is not of
  // the packets that were added is none. Call once.
  std::vector<SourceRun> Finish();

 private:
  // Consecutive packets under one statement, or under none.
  struct Group {
    const SignedRun* statement = nullptr;
    uint64_t first = 0;
    uint64_t packets = 0;
    std::vector<std::string> hashes;
  };

  const SignedRun* StatementOf(uint64_t sequence) const;
  // Makes a run of the group's packets in [begin_, end_).
  void Finish(const Group& group);

  // By their first numbers.
  const std::vector<SignedRun> statements_;
  uint64_t added_ = 0;
  std::optional<uint64_t> begin_;
  uint64_t end_ = 0;
  std::vector<Group> groups_;
  std::vector<SourceRun> runs_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_SOURCE_RUNS_H_
