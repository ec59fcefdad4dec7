#ifndef INDEXER_QUERY_MATCH_WALKER_H_
#define INDEXER_QUERY_MATCH_WALKER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/limits.h"
#include "indexer/query/filter.h"
#include "indexer/query/past_sessions.h"
#include "indexer/query/planner.h"
#include "indexer/query/query_cost.h"
#include "indexer/query/row_cache.h"
#include "indexer/query/session_as_of.h"
#include "indexer/query/session_iterator.h"
#include "indexer/store/index_view.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// A session of which some runs satisfy the filter.
struct Match {
  SessionNumber session;
  RunSet runs;
  // Of an answer of an earlier moment, if the session has changed since: what
  // it was then, whose runs these are.
  std::shared_ptr<const PastSession> past;
};

// Walks the sessions that satisfy a filter, in order. Not thread-safe.
class MatchWalker {
 public:
  struct Options {
    Order order = Order::kNewestFirst;
    // The first that is looked at; nullopt: the order's first.
    std::optional<SessionNumber> from;
    // The answer is of its position; nullptr: of now. Must outlive the walker.
    const PastSessions* past = nullptr;
    // Whether matches' rows are shown: those of an earlier moment are then made
    // whole.
    bool shows_rows = false;
    // True ends the walk with CANCELLED. May be empty.
    std::function<bool()> cancelled;
    uint64_t max_cost = limits::kMaxQueryCost;
  };

  // Plans the filter. INVALID_ARGUMENT or RESOURCE_EXHAUSTED, with the place,
  // if it can't be answered. `view` must outlive it.
  static absl::StatusOr<std::unique_ptr<MatchWalker>> Create(
      const IndexView* view, const FilterNode& filter, Options options);

  // The next match, good until the next call; nullptr at the end.
  absl::StatusOr<const Match*> Next();

  // Set if the end came because the query had cost too much: the session that
  // was not looked at any more. At least one was, so going on there gets on.
  const std::optional<SessionNumber>& stopped_at() const { return stopped_at_; }

  RowCache& rows() { return rows_; }
  QueryCost& cost() { return cost_; }

 private:
  MatchWalker(const IndexView* view, std::unique_ptr<FilterNode> filter,
              Options options);

  absl::StatusOr<bool> Spent(SessionNumber at, QueryCost* cost);
  // Makes the changed session at hand the match, if it is one.
  absl::Status MatchPast();
  // The changed session that comes next, whether or not it matches.
  std::optional<SessionNumber> NextPast() const;

  const std::unique_ptr<FilterNode> filter_;
  const PastSessions::Needs needs_;
  const Options options_;
  QueryCost cost_;
  // Of the changed sessions: lists that were dear to walk to a far place leave
  // it for those that come before.
  QueryCost past_cost_;
  RowCache rows_;
  std::unique_ptr<SessionIterator> root_;
  // In the walk's order.
  std::vector<SessionNumber> past_;
  size_t next_past_ = 0;
  // The root stands on what was looked at already.
  bool pending_step_ = false;
  bool looked_at_any_ = false;
  std::optional<SessionNumber> stopped_at_;
  Match match_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_MATCH_WALKER_H_
