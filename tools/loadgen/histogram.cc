#include "tools/loadgen/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace diptych::loadgen {

// Below kSteps each value has its bucket; above, each power of two has kSteps.
size_t Histogram::BucketOf(uint64_t value) {
  if (value < kSteps) return value;
  const int shift = std::bit_width(value) - 1 - kStepBits;
  return (static_cast<size_t>(shift) + 1) * kSteps + (value >> shift) - kSteps;
}

uint64_t Histogram::UpperEdge(size_t bucket) {
  if (bucket < kSteps) return bucket;
  const size_t shift = bucket / kSteps - 1;
  const uint64_t step = bucket % kSteps + kSteps;
  return ((step + 1) << shift) - 1;
}

void Histogram::Add(int64_t value_us, uint64_t times) {
  const int64_t value = std::max<int64_t>(value_us, 0);
  buckets_[BucketOf(static_cast<uint64_t>(value))] += times;
  count_ += times;
  if (times > 0) max_us_ = std::max(max_us_, value);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_us_ = std::max(max_us_, other.max_us_);
}

int64_t Histogram::Quantile_us(double share) const {
  if (count_ == 0) return 0;
  const uint64_t rank = std::max<uint64_t>(
      1, static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank) {
      return std::min(static_cast<int64_t>(UpperEdge(i)), max_us_);
    }
  }
  return max_us_;
}

}  // namespace diptych::loadgen
