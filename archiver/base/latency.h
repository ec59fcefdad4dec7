#ifndef ARCHIVER_BASE_LATENCY_H_
#define ARCHIVER_BASE_LATENCY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace diptych::base {

// How long something took, many times over: counts in buckets whose width is an
// eighth of their value, up to about an hour. Fixed size; thread-safe,
// wait-free.
class LatencyHistogram {
 public:
  void Add(absl::Duration duration);

  uint64_t count() const;
  // The upper edge of the bucket in which the `share` (0 to 1) of all lies;
  // zero if there are none. Approximate while others add.
  absl::Duration Quantile(double share) const;

 private:
  static constexpr size_t kSteps = 8;
  static constexpr size_t kBuckets = 256;
  static size_t BucketOf(uint64_t us);
  static uint64_t UpperEdge_us(size_t bucket);

  std::array<std::atomic<uint64_t>, kBuckets> buckets_ = {};
};

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_LATENCY_H_
