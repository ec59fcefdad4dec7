#ifndef INDEXER_QUERY_PLANNER_H_
#define INDEXER_QUERY_PLANNER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "indexer/query/filter.h"
#include "indexer/query/query_cost.h"
#include "indexer/query/row_cache.h"
#include "indexer/query/session_iterator.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// What a plan works with; all must outlive it.
struct PlanContext {
  const IndexView* view = nullptr;
  QueryCost* cost = nullptr;
  RowCache* rows = nullptr;
  Order order = Order::kNewestFirst;
  uint32_t max_displacement_s = 0;
};

// Which sessions a walk may see, first and last in it.
struct SessionBounds {
  SessionNumber lower;
  SessionNumber upper = SessionNumber::Largest();

  bool empty() const { return upper < lower; }
  // Keeps what is in both.
  void Intersect(const SessionBounds& other) {
    if (lower < other.lower) lower = other.lower;
    if (other.upper < upper) upper = other.upper;
  }
};

// Those that the filter's terms on start time and session leave.
absl::StatusOr<SessionBounds> BoundsOf(const FilterNode& filter,
                                       const PlanContext& context);

// How to find what satisfies a canonical filter: can be walked, and probed for
// runs that the sessions really have. `filter` must outlive it.
// INVALID_ARGUMENT or RESOURCE_EXHAUSTED, with the place, if it can't be
// answered.
absl::StatusOr<std::unique_ptr<SessionIterator>> PlanFilter(
    const FilterNode& filter, const PlanContext& context,
    const SessionBounds& bounds);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_PLANNER_H_
