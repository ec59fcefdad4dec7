#ifndef INDEXER_QUERY_SEGMENT_WALKER_H_
#define INDEXER_QUERY_SEGMENT_WALKER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "indexer/query/match_rows.h"
#include "indexer/query/match_walker.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Walks the segments of what a MatchWalker finds: session by session, of one
// session later runs first when newest come first. Not thread-safe.
class SegmentWalker {
 public:
  struct Found {
    const Match* match = nullptr;
    base::Uuid session;
    const stored::v1::SegmentRow* segment = nullptr;
  };

  // Where an answer goes on.
  struct Place {
    SessionNumber session;
    uint32_t segment = 0;
  };

  // Both pointers must outlive it. `first` is the first that is wanted;
  // nullopt: what the walk begins with.
  SegmentWalker(const IndexView* view, MatchWalker* matches, Order order,
                std::optional<Place> first)
      : view_(view), matches_(matches), order_(order), first_(first) {}

  // Good until the next call; nullopt at the end, or where the matches' walk
  // was stopped.
  absl::StatusOr<std::optional<Found>> Next();

 private:
  const IndexView* const view_;
  MatchWalker* const matches_;
  const Order order_;
  // What comes before it in its session was on earlier pages.
  std::optional<Place> first_;
  const Match* match_ = nullptr;
  MatchedRuns runs_;
  // Runs of the session that have been walked, and segments of the run.
  size_t next_run_ = 0;
  std::vector<stored::v1::SegmentRow> segments_;
  size_t next_segment_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_SEGMENT_WALKER_H_
