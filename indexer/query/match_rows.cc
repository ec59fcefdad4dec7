#include "indexer/query/match_rows.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/match_walker.h"
#include "indexer/query/session_as_of.h"
#include "indexer/store/index_view.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::RunRow;
using stored::v1::SegmentRow;

RunRow ToRow(const RunPlan& plan) {
  RunRow row;
  for (const RunPlan::Range& range : plan.segments) {
    auto* added = row.add_segments();
    added->set_first(range.first);
    added->set_last(range.last);
  }
  row.set_from_us(plan.from_us);
  row.set_to_us(plan.to_us);
  return row;
}

auto Place(const SegmentRow& row) {
  return std::make_tuple(row.window_start_us(), row.segment());
}

}  // namespace

absl::StatusOr<MatchedRuns> RunsOf(const IndexView& view, const Match& match) {
  MatchedRuns matched;
  if (match.past != nullptr) {
    matched.session = match.past->id;
    RunSteps wanted(match.runs);
    for (uint32_t i = 0; i < match.past->runs.size(); ++i) {
      if (!wanted.Contains(i)) continue;
      matched.runs.push_back(ToRow(match.past->runs[i]));
    }
    return matched;
  }
  ASSIGN_OR_RETURN(std::optional<SessionRuns> found,
                   view.Runs(match.session, match.runs));
  if (!found.has_value()) {
    return base::IntegrityError(
        "the index has a posting of a session without its runs; run `diptych "
        "index rebuild`");
  }
  matched.session = found->session;
  matched.runs.reserve(found->runs.size());
  for (auto& numbered : found->runs) {
    matched.runs.push_back(std::move(numbered.row));
  }
  return matched;
}

absl::StatusOr<std::vector<SegmentRow>> SegmentsOf(const IndexView& view,
                                                   const Match& match,
                                                   const RunRow& run,
                                                   Order order) {
  std::vector<SegmentRow> segments;
  for (const auto& range : run.segments()) {
    if (match.past != nullptr) {
      const std::vector<SegmentRow>& all = match.past->segments;
      std::copy_if(all.begin(), all.end(), std::back_inserter(segments),
                   [&](const SegmentRow& segment) {
                     return range.first() <= segment.segment() &&
                            segment.segment() <= range.last();
                   });
      continue;
    }
    ASSIGN_OR_RETURN(auto rows,
                     view.Segments(match.session, range.first(), range.last()));
    std::move(rows.begin(), rows.end(), std::back_inserter(segments));
  }
  std::sort(segments.begin(), segments.end(),
            [&](const SegmentRow& a, const SegmentRow& b) {
              return order == Order::kNewestFirst ? Place(b) < Place(a)
                                                  : Place(a) < Place(b);
            });
  return segments;
}

absl::StatusOr<const stored::v1::SessionRow*> RowOf(const Match& match,
                                                    RowCache* rows) {
  if (match.past != nullptr) return &match.past->row;
  return rows->At(match.session);
}

std::optional<int64_t> OpenEnd_us(const stored::v1::SessionRow& row,
                                  const RunSet& runs) {
  if (row.closed() != stored::v1::CLOSE_REASON_UNSPECIFIED || row.runs() == 0 ||
      !runs.Contains(row.runs() - 1)) {
    return std::nullopt;
  }
  return row.end_us();
}

std::vector<TimeRange> RangesOf(const std::vector<RunRow>& runs,
                                std::optional<int64_t> open_end_us) {
  std::vector<TimeRange> ranges;
  for (const RunRow& run : runs) {
    if (run.segments().empty()) continue;
    ranges.push_back({run.from_us(), run.to_us()});
  }
  if (open_end_us.has_value() && !runs.empty() &&
      *open_end_us > runs.back().to_us()) {
    ranges.push_back({runs.back().from_us(), *open_end_us});
  }
  std::sort(
      ranges.begin(), ranges.end(), [](const TimeRange& a, const TimeRange& b) {
        return std::tie(a.start_us, a.end_us) < std::tie(b.start_us, b.end_us);
      });
  // Tags that are newer than any segment: there is no more than their moment.
  if (ranges.empty() && !runs.empty() && runs.back().to_us() > 0) {
    ranges.push_back({runs.back().from_us(), runs.back().to_us()});
  }
  std::vector<TimeRange> joined;
  for (const TimeRange& range : ranges) {
    if (!joined.empty() && range.start_us <= joined.back().end_us) {
      joined.back().end_us = std::max(joined.back().end_us, range.end_us);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

}  // namespace diptych::indexer
