#ifndef INDEXER_QUERY_SESSION_AS_OF_H_
#define INDEXER_QUERY_SESSION_AS_OF_H_

#include <memory>
#include <optional>
#include <vector>

#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// A session as the index had it when it had seen the log up to a position.
struct PastSession {
  base::Uuid id;
  // With the tags, the state and the number of segments of then. Its end and
  // its sides are of then once SetPastEnd was called; its bytes, what the sides
  // gave and what its closing record says are of now.
  stored::v1::SessionRow row;
  // In ascending order of their numbers.
  std::vector<stored::v1::SegmentRow> segments;
  // FoldTags of the row, and how the session is cut by them.
  std::vector<TagSpan> tags;
  std::vector<RunPlan> runs;
  // If the row has forgotten in which state it was: what it was if it was
  // closed, all else being what it was if it was open.
  std::shared_ptr<const PastSession> if_closed;
};

// Undoes every record at or after `position`. `segments` are all that the
// session has now, in ascending order. nullopt if it was not known then. Pure.
std::optional<PastSession> SessionAsOf(
    log::Position position, const stored::v1::SessionRow& row,
    const std::vector<stored::v1::SegmentRow>& segments);

// False if the row has forgotten in which state it was then.
bool KnowsStateAsOf(log::Position position, const stored::v1::SessionRow& row);

// What the chunks say of then. `chunks` are all that the session has now.
void SetPastEnd(log::Position position,
                const std::vector<stored::v1::ChunkRow>& chunks,
                PastSession* past);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_SESSION_AS_OF_H_
