#include "indexer/query/segment_walker.h"

#include <cstddef>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/match_rows.h"
#include "indexer/query/match_walker.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

absl::StatusOr<std::optional<SegmentWalker::Found>> SegmentWalker::Next() {
  for (;;) {
    while (next_segment_ < segments_.size()) {
      const stored::v1::SegmentRow& segment = segments_[next_segment_++];
      if (first_.has_value()) {
        if (segment.segment() != first_->segment) continue;
        first_.reset();
      }
      return Found{match_, runs_.session, &segment};
    }
    if (match_ != nullptr && next_run_ < runs_.runs.size()) {
      const size_t run = order_ == Order::kNewestFirst
                             ? runs_.runs.size() - 1 - next_run_
                             : next_run_;
      ++next_run_;
      next_segment_ = 0;
      ASSIGN_OR_RETURN(segments_,
                       SegmentsOf(*view_, *match_, runs_.runs[run], order_));
      continue;
    }
    ASSIGN_OR_RETURN(match_, matches_->Next());
    if (match_ == nullptr) return std::nullopt;
    if (first_.has_value() && first_->session != match_->session) {
      first_.reset();
    }
    ASSIGN_OR_RETURN(runs_, RunsOf(*view_, *match_));
    next_run_ = 0;
  }
}

}  // namespace diptych::indexer
