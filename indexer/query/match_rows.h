#ifndef INDEXER_QUERY_MATCH_ROWS_H_
#define INDEXER_QUERY_MATCH_ROWS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "indexer/query/match_walker.h"
#include "indexer/store/index_view.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// What the index holds of matches, each as of its answer's moment. None of this
// opens a sealed row, but RowOf.

// A session's matching runs.
struct MatchedRuns {
  base::Uuid session;
  // In ascending order of their numbers.
  std::vector<stored::v1::RunRow> runs;
};
absl::StatusOr<MatchedRuns> RunsOf(const IndexView& view, const Match& match);

// The segments of one of its runs, in the order of answers.
absl::StatusOr<std::vector<stored::v1::SegmentRow>> SegmentsOf(
    const IndexView& view, const Match& match, const stored::v1::RunRow& run,
    Order order);

// Good until another one's is asked for.
absl::StatusOr<const stored::v1::SessionRow*> RowOf(const Match& match,
                                                    RowCache* rows);

// Where runs lie on the session timeline, in order, joined where they touch.
// One without segments counts only if no other does. With `open_end_us` the
// last of them is the last run of a session that is open and has come this far:
// what is not sealed yet belongs to it.
struct TimeRange {
  int64_t start_us = 0;
  int64_t end_us = 0;
};
std::vector<TimeRange> RangesOf(const std::vector<stored::v1::RunRow>& runs,
                                std::optional<int64_t> open_end_us);
// For RangesOf: nullopt if the session is closed or its last run is no match.
std::optional<int64_t> OpenEnd_us(const stored::v1::SessionRow& row,
                                  const RunSet& runs);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_MATCH_ROWS_H_
