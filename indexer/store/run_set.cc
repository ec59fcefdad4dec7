#include "indexer/store/run_set.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace diptych::indexer {

void RunSet::Append(uint32_t first, uint32_t last) {
  if (!ranges_.empty() &&
      uint64_t{first} <= uint64_t{ranges_.back().last} + 1) {
    ranges_.back().first = std::min(ranges_.back().first, first);
    ranges_.back().last = std::max(ranges_.back().last, last);
    return;
  }
  ranges_.push_back({first, last});
}

uint64_t RunSet::size() const {
  uint64_t runs = 0;
  for (const Range& range : ranges_) {
    runs += uint64_t{range.last} - range.first + 1;
  }
  return runs;
}

bool RunSet::Contains(uint32_t run) const {
  const auto range =
      std::partition_point(ranges_.begin(), ranges_.end(),
                           [&](const Range& r) { return r.last < run; });
  return range != ranges_.end() && range->first <= run;
}

RunSet Intersect(const RunSet& a, const RunSet& b) {
  RunSet both;
  for (size_t i = 0, j = 0; i < a.ranges_.size() && j < b.ranges_.size();) {
    const uint32_t first = std::max(a.ranges_[i].first, b.ranges_[j].first);
    const uint32_t last = std::min(a.ranges_[i].last, b.ranges_[j].last);
    if (first <= last) both.ranges_.push_back({first, last});
    if (a.ranges_[i].last < b.ranges_[j].last) {
      ++i;
    } else {
      ++j;
    }
  }
  return both;
}

RunSet Unite(const RunSet& a, const RunSet& b) {
  RunSet either;
  for (size_t i = 0, j = 0; i < a.ranges_.size() || j < b.ranges_.size();) {
    const bool take_a =
        j == b.ranges_.size() ||
        (i < a.ranges_.size() && a.ranges_[i].first <= b.ranges_[j].first);
    const RunSet::Range& next = take_a ? a.ranges_[i++] : b.ranges_[j++];
    // In order of their firsts, so joining touches the last range alone.
    if (!either.ranges_.empty() &&
        uint64_t{next.first} <= uint64_t{either.ranges_.back().last} + 1) {
      either.ranges_.back().last =
          std::max(either.ranges_.back().last, next.last);
    } else {
      either.ranges_.push_back(next);
    }
  }
  return either;
}

RunSet Subtract(const RunSet& a, const RunSet& b) {
  RunSet left;
  for (const RunSet::Range& range : a.ranges_) {
    uint64_t first = range.first;
    for (const RunSet::Range& gone : b.ranges_) {
      if (gone.last < first || gone.first > range.last) continue;
      if (first < gone.first) {
        left.ranges_.push_back({static_cast<uint32_t>(first), gone.first - 1});
      }
      first = uint64_t{gone.last} + 1;
    }
    if (first <= range.last) {
      left.ranges_.push_back({static_cast<uint32_t>(first), range.last});
    }
  }
  return left;
}

}  // namespace diptych::indexer
