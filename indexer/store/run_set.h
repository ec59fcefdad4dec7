#ifndef INDEXER_STORE_RUN_SET_H_
#define INDEXER_STORE_RUN_SET_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"

namespace diptych::indexer {

// Some of a session's runs, by their numbers. A value type.
class RunSet {
 public:
  // From first to last, both in it.
  struct Range {
    uint32_t first = 0;
    uint32_t last = 0;
    friend bool operator==(const Range&, const Range&) = default;
  };

  // None.
  RunSet() = default;
  // REQUIRES: first <= last.
  RunSet(uint32_t first, uint32_t last) { ranges_.push_back({first, last}); }

  // REQUIRES: first <= last, and nothing in it is larger than last.
  void Append(uint32_t first, uint32_t last);

  bool empty() const { return ranges_.empty(); }
  // How many runs.
  uint64_t size() const;
  bool Contains(uint32_t run) const;
  // Ascending; at least one number lies between two of them.
  absl::Span<const Range> ranges() const { return ranges_; }

  friend RunSet Intersect(const RunSet& a, const RunSet& b);
  friend RunSet Unite(const RunSet& a, const RunSet& b);
  // What is in a and not in b.
  friend RunSet Subtract(const RunSet& a, const RunSet& b);
  friend bool operator==(const RunSet&, const RunSet&) = default;

 private:
  // Nearly every set is one range.
  absl::InlinedVector<Range, 2> ranges_;
};

RunSet Intersect(const RunSet& a, const RunSet& b);
RunSet Unite(const RunSet& a, const RunSet& b);
RunSet Subtract(const RunSet& a, const RunSet& b);

// Steps through a set along with a loop over runs, so that all questions
// together cost no more than the set and the loop.
class RunSteps {
 public:
  // `runs` must outlive it.
  explicit RunSteps(const RunSet& runs) : left_(runs.ranges()) {}

  // REQUIRES: `run` is never smaller than in the call before.
  bool Contains(uint32_t run) {
    while (!left_.empty() && left_.front().last < run) left_.remove_prefix(1);
    return !left_.empty() && left_.front().first <= run;
  }

 private:
  absl::Span<const RunSet::Range> left_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_RUN_SET_H_
