#ifndef ARCHIVER_MEDIA_INTERLEAVER_H_
#define ARCHIVER_MEDIA_INTERLEAVER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "archiver/media/packet_table.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {

// A packet that waits for its chunk.
struct PendingPacket {
  stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
  PacketInfo info;
  std::string payload;
  // Of the payload, 32 bytes: what evidence has of it.
  std::string payload_sha256;
  // On the monotonic clock.
  absl::Duration arrived;
};

// Brings the two sides of a session onto one timeline. A side's packets leave
// in the order of their sequence numbers, so whatever has left is a prefix of
// what the side sent; between the sides, the smaller dts leaves first. Holds
// what the caller lets it hold; not thread-safe.
class Interleaver {
 public:
  // REQUIRES: sequence is the side's last one plus 1.
  void Push(PendingPacket packet);

  bool empty() const { return queues_[0].empty() && queues_[1].empty(); }
  size_t payload_bytes() const { return payload_bytes_; }
  size_t packets() const { return queues_[0].size() + queues_[1].size(); }

  // The smaller dts of the two packets that could leave next.
  std::optional<int64_t> head_dts_us() const;
  // When the packet that has waited longest came.
  std::optional<absl::Duration> oldest_arrival() const;
  // True if the side holds a packet with dts >= `dts_us`: it has come that far.
  bool HasReached(stored::v1::Side side, int64_t dts_us) const;

  // The sequence of the side's packet that leaves next; nullopt if it has none.
  std::optional<uint64_t> NextSequence(stored::v1::Side side) const;

  // Takes the packets that come before `before_us`, up to and including the one
  // that reaches `max_bytes` of payload, at most `max_packets`.
  std::vector<PendingPacket> Take(int64_t before_us, size_t max_bytes,
                                  size_t max_packets);

 private:
  using Queue = std::deque<PendingPacket>;
  static size_t IndexOf(stored::v1::Side side) {
    return side == stored::v1::SIDE_RESIDENT ? 0 : 1;
  }

  std::array<Queue, 2> queues_;
  // Largest dts ever pushed, per side; only meaningful while it has packets.
  std::array<int64_t, 2> furthest_dts_us_ = {INT64_MIN, INT64_MIN};
  size_t payload_bytes_ = 0;
};

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_INTERLEAVER_H_
