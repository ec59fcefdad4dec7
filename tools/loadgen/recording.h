#ifndef TOOLS_LOADGEN_RECORDING_H_
#define TOOLS_LOADGEN_RECORDING_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::loadgen {

// Both sides of a recorded call, read once and played over and over: packet n
// of a side is always the same bytes at the same time, so that nothing has to
// be kept for the sake of a resume, and a checker can say what packet n was.
// Immutable once loaded; thread-safe.
class Recording {
 public:
  struct Item {
    // Without its sequence; times of the first round.
    api::v1::Packet packet;
    std::string sha256_hex;
    // Index into Side::tracks.
    size_t tracks = 0;
    // When it goes out: its dts, or that of the one before if that is later.
    int64_t due_us = 0;
  };
  struct Side {
    api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
    std::vector<Item> items;
    // The side's tracks as they were one after the other; the first again with
    // each round.
    std::vector<std::vector<api::v1::Track>> tracks;
    // bytes_before[i]: payload of the items before i.
    std::vector<uint64_t> bytes_before;
  };

  // Reads two inputs of the gateway's kind to their ends. RESOURCE_EXHAUSTED if
  // they are too long to be held.
  static absl::StatusOr<Recording> Load(const std::string& resident,
                                        const std::string& clerk);

  const std::vector<Side>& sides() const { return sides_; }
  // From the beginning of a round to that of the next.
  int64_t round_us() const { return round_us_; }

  // Of sides()[side], for packet `sequence`, from 1.
  const Item& ItemOf(size_t side, uint64_t sequence) const;
  int64_t DueAt(size_t side, uint64_t sequence) const;
  api::v1::Packet PacketAt(size_t side, uint64_t sequence) const;
  // Payload of the first `sequence` packets.
  uint64_t BytesThrough(size_t side, uint64_t sequence) const;
  // How many packets are due before `length_us`.
  uint64_t PacketsWithin(size_t side, int64_t length_us) const;

 private:
  std::vector<Side> sides_;
  int64_t round_us_ = 0;
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_RECORDING_H_
