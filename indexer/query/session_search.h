#ifndef INDEXER_QUERY_SESSION_SEARCH_H_
#define INDEXER_QUERY_SESSION_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// For benchmarks: finds, without access records and words of the wire. Opens no
// sealed row unless the filter asks for what only that has. Errors are those of
// ParseFilter and MatchWalker.

struct SearchOptions {
  Order order = Order::kNewestFirst;
  size_t limit = limits::kDefaultPageSize;
  uint64_t max_cost = limits::kMaxQueryCost;
};

struct FoundSegment {
  base::Uuid session_id;
  SessionNumber session;
  uint32_t segment = 0;
  // On the session timeline.
  int64_t start_us = 0;
  int64_t end_us = 0;
  // Of its manifest in the log.
  log::Position position = 0;
};
struct SegmentResults {
  std::vector<FoundSegment> segments;
  // There are others.
  bool more = false;
  // False if it cost too much to see all.
  bool complete = true;
};
absl::StatusOr<SegmentResults> SearchSegments(const IndexView& view,
                                              absl::string_view filter,
                                              const SearchOptions& options);

struct CountResult {
  uint64_t sessions = 0;
  bool complete = true;
};
absl::StatusOr<CountResult> CountMatches(
    const IndexView& view, absl::string_view filter,
    uint64_t max_cost = limits::kMaxQueryCost);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_SESSION_SEARCH_H_
