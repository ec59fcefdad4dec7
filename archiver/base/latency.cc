#include "archiver/base/latency.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace diptych::base {

size_t LatencyHistogram::BucketOf(uint64_t us) {
  if (us < kSteps) return static_cast<size_t>(us);
  // The power of two says which octave, the next three bits where in it.
  const int octave = std::bit_width(us) - 1;
  const size_t step = static_cast<size_t>(us >> (octave - 3)) - kSteps;
  return std::min((static_cast<size_t>(octave) - 2) * kSteps + step,
                  kBuckets - 1);
}

uint64_t LatencyHistogram::UpperEdge_us(size_t bucket) {
  if (bucket < kSteps) return bucket;
  const size_t octave = bucket / kSteps + 2;
  const uint64_t step = bucket % kSteps + kSteps;
  return ((step + 1) << (octave - 3)) - 1;
}

void LatencyHistogram::Add(absl::Duration duration) {
  const int64_t us = absl::ToInt64Microseconds(duration);
  buckets_[BucketOf(static_cast<uint64_t>(std::max<int64_t>(us, 0)))].fetch_add(
      1, std::memory_order_relaxed);
}

uint64_t LatencyHistogram::count() const {
  uint64_t sum = 0;
  for (const auto& bucket : buckets_) {
    sum += bucket.load(std::memory_order_relaxed);
  }
  return sum;
}

absl::Duration LatencyHistogram::Quantile(double share) const {
  const uint64_t all = count();
  if (all == 0) return absl::ZeroDuration();
  const auto wanted =
      static_cast<uint64_t>(std::ceil(share * static_cast<double>(all)));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i].load(std::memory_order_relaxed);
    if (seen >= std::max<uint64_t>(wanted, 1)) {
      return absl::Microseconds(UpperEdge_us(i));
    }
  }
  return absl::Microseconds(UpperEdge_us(kBuckets - 1));
}

}  // namespace diptych::base
