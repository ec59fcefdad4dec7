#ifndef TOOLS_LOADGEN_HISTOGRAM_H_
#define TOOLS_LOADGEN_HISTOGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace diptych::loadgen {

// How often something took how long: counts in buckets whose width is at most
// a 64th of their value. Fixed size, any duration. Not thread-safe.
class Histogram {
 public:
  void Add(int64_t value_us, uint64_t times = 1);
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  int64_t max_us() const { return max_us_; }
  // The upper edge of the bucket in which the `share` (0 to 1) of all lies, at
  // most max_us(); 0 if there are none.
  int64_t Quantile_us(double share) const;

 private:
  static constexpr int kStepBits = 6;
  static constexpr size_t kSteps = size_t{1} << kStepBits;
  static constexpr size_t kBuckets = (64 - kStepBits + 1) * kSteps;
  static size_t BucketOf(uint64_t value);
  static uint64_t UpperEdge(size_t bucket);

  std::array<uint64_t, kBuckets> buckets_ = {};
  uint64_t count_ = 0;
  int64_t max_us_ = 0;
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_HISTOGRAM_H_
