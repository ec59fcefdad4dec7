#include "archiver/media/interleaver.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {

void Interleaver::Push(PendingPacket packet) {
  const size_t side = IndexOf(packet.side);
  Queue& queue = queues_[side];
  furthest_dts_us_[side] =
      queue.empty() ? packet.info.dts_us
                    : std::max(furthest_dts_us_[side], packet.info.dts_us);
  payload_bytes_ += packet.payload.size();
  queue.push_back(std::move(packet));
}

std::optional<int64_t> Interleaver::head_dts_us() const {
  std::optional<int64_t> head;
  for (const Queue& queue : queues_) {
    if (queue.empty()) continue;
    const int64_t dts_us = queue.front().info.dts_us;
    head = head.has_value() ? std::min(*head, dts_us) : dts_us;
  }
  return head;
}

std::optional<absl::Duration> Interleaver::oldest_arrival() const {
  std::optional<absl::Duration> oldest;
  for (const Queue& queue : queues_) {
    if (queue.empty()) continue;
    const absl::Duration arrived = queue.front().arrived;
    oldest = oldest.has_value() ? std::min(*oldest, arrived) : arrived;
  }
  return oldest;
}

bool Interleaver::HasReached(stored::v1::Side side, int64_t dts_us) const {
  const size_t index = IndexOf(side);
  return !queues_[index].empty() && furthest_dts_us_[index] >= dts_us;
}

std::optional<uint64_t> Interleaver::NextSequence(stored::v1::Side side) const {
  const Queue& queue = queues_[IndexOf(side)];
  if (queue.empty()) return std::nullopt;
  return queue.front().info.sequence;
}

std::vector<PendingPacket> Interleaver::Take(int64_t before_us,
                                             size_t max_bytes,
                                             size_t max_packets) {
  std::vector<PendingPacket> taken;
  size_t bytes = 0;
  while (bytes < max_bytes && taken.size() < max_packets) {
    Queue* next = nullptr;
    for (Queue& queue : queues_) {
      if (queue.empty() || queue.front().info.dts_us >= before_us) continue;
      if (next == nullptr ||
          queue.front().info.dts_us < next->front().info.dts_us) {
        next = &queue;
      }
    }
    if (next == nullptr) break;
    bytes += next->front().payload.size();
    taken.push_back(std::move(next->front()));
    next->pop_front();
  }
  payload_bytes_ -= bytes;
  return taken;
}

}  // namespace diptych::media
