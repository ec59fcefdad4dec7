#ifndef INDEXER_QUERY_API_ROWS_H_
#define INDEXER_QUERY_API_ROWS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "indexer/store/session_tags.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// The index's rows in the words of the wire.

// Wall time of the session's latest packet end, kept within int64.
int64_t EndTime_us(const stored::v1::SessionRow& row);

api::v1::Session ToApiSession(const stored::v1::SessionRow& row);

// `tags` is FoldTags of the row.
api::v1::Segment ToApiSegment(const stored::v1::SessionRow& row,
                              const std::vector<TagSpan>& tags,
                              const stored::v1::SegmentRow& segment);

api::v1::TimedTag ToApiTimedTag(const TagSpan& tag);
api::v1::Span ToApiSpan(const stored::v1::SpanRow& row);
api::v1::SessionEvent ToApiEvent(const stored::v1::EventRow& row);
api::v1::ClockAnchor ToApiClockAnchor(const stored::v1::ClockAnchor& anchor);
api::v1::ClockChange ToApiClockChange(const stored::v1::ClockChanged& change);
api::v1::StateChange ToApiStateChange(const stored::v1::StateChanged& change);

// What each side gave: as the closing record says, or so far.
std::vector<api::v1::SideTotals> ToApiSides(const stored::v1::SessionRow& row);

// Recorded gaps, of chunks and of the closing record, and where these say
// nothing what follows from the sides: one that never gave anything, one that
// began late, and, in a session that has ended, one that ended early. In order
// of their times.
std::vector<api::v1::Gap> ToApiGaps(
    const stored::v1::SessionRow& row,
    const std::vector<stored::v1::Gap>& recorded);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_API_ROWS_H_
