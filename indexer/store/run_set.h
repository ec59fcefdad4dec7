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

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_RUN_SET_H_
