#include "indexer/query/session_search.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/filter.h"
#include "indexer/query/match_walker.h"
#include "indexer/query/segment_walker.h"
#include "indexer/store/index_view.h"

namespace diptych::indexer {
namespace {

absl::StatusOr<std::unique_ptr<MatchWalker>> Walk(const IndexView& view,
                                                  absl::string_view filter,
                                                  Order order,
                                                  uint64_t max_cost) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FilterNode> parsed,
                   ParseFilter(filter));
  MatchWalker::Options options;
  options.order = order;
  options.max_cost = max_cost;
  return MatchWalker::Create(&view, *parsed, std::move(options));
}

}  // namespace

absl::StatusOr<SegmentResults> SearchSegments(const IndexView& view,
                                              absl::string_view filter,
                                              const SearchOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MatchWalker> walker,
                   Walk(view, filter, options.order, options.max_cost));
  SegmentWalker segments(&view, walker.get(), options.order, std::nullopt);
  SegmentResults results;
  results.segments.reserve(options.limit);
  for (;;) {
    ASSIGN_OR_RETURN(const auto found, segments.Next());
    if (!found.has_value()) break;
    if (results.segments.size() == options.limit) {
      results.more = true;
      break;
    }
    FoundSegment segment;
    segment.session_id = found->session;
    segment.session = found->match->session;
    segment.segment = found->segment->segment();
    segment.start_us = found->segment->start_us();
    segment.end_us = found->segment->end_us();
    segment.position = found->segment->position();
    results.segments.push_back(segment);
  }
  results.complete = !walker->stopped_at().has_value();
  return results;
}

absl::StatusOr<CountResult> CountMatches(const IndexView& view,
                                         absl::string_view filter,
                                         uint64_t max_cost) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MatchWalker> walker,
                   Walk(view, filter, Order::kOldestFirst, max_cost));
  CountResult result;
  for (;;) {
    ASSIGN_OR_RETURN(const Match* const match, walker->Next());
    if (match == nullptr) break;
    ++result.sessions;
  }
  result.complete = !walker->stopped_at().has_value();
  return result;
}

}  // namespace diptych::indexer
