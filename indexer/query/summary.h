#ifndef INDEXER_QUERY_SUMMARY_H_
#define INDEXER_QUERY_SUMMARY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/limits.h"
#include "indexer/query/filter.h"
#include "indexer/store/index_view.h"

namespace diptych::indexer {

// How often each value of a key occurs among sessions that match.
struct FacetCounts {
  std::string key;
  // What the filter would count with `key = value` added to it; none is 0.
  std::map<std::string, uint64_t> sessions;
  // Matching sessions in which no matching run has the key.
  uint64_t without = 0;
};

struct Summary {
  uint64_t sessions = 0;
  // In the order of the keys.
  std::vector<FacetCounts> facets;
  // False if it cost too much to see all; everything is then a lower bound.
  bool complete = true;
};

struct SummaryOptions {
  std::vector<std::string> keys;
  // True ends it with CANCELLED. May be empty.
  std::function<bool()> cancelled;
  uint64_t max_cost = limits::kMaxQueryCost;
};

// Counts exactly, walking what matches once. Of each key takes what is cheaper:
// the lists of all its values, or the matching sessions' rows.
// RESOURCE_EXHAUSTED with reason TOO_MANY_GROUPS beyond limits::kMaxGroups
// values of a key; else errors are MatchWalker's.
absl::StatusOr<Summary> Summarize(const IndexView& view,
                                  const FilterNode& filter,
                                  const SummaryOptions& options);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_SUMMARY_H_
