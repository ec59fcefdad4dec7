#ifndef INDEXER_QUERY_SEGMENT_HINTS_H_
#define INDEXER_QUERY_SEGMENT_HINTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/store/index_view.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Fills in a segment's key frames, and from where playing it has to begin:
// `segment` is what it is filled into, `chunks` are its own and those before.
// Goes back by a minute at most, and never into another span, whose tracks are
// others. Pure.
void AddHints(const stored::v1::SegmentRow& row,
              absl::Span<const stored::v1::ChunkRow* const> chunks,
              api::v1::Segment* segment);

// Reads the chunks that hints need, and keeps those of the session at hand for
// its other segments. Not thread-safe.
class SegmentHints {
 public:
  // Only what came before `position` counts. `view` must outlive it.
  SegmentHints(const IndexView* view, log::Position position)
      : view_(view), position_(position) {}

  absl::Status AddTo(const base::Uuid& session,
                     const stored::v1::SegmentRow& row,
                     api::v1::Segment* segment);

 private:
  using Chunks = std::vector<stored::v1::ChunkRow>;

  // Those of a group that came before the position.
  absl::StatusOr<const Chunks*> Group(uint32_t group);
  // The last group that begins before the segment, or the first one. Chunks of
  // later segments have higher numbers.
  absl::StatusOr<uint32_t> GroupBefore(const stored::v1::SegmentRow& row);

  const IndexView* const view_;
  const log::Position position_;
  std::optional<base::Uuid> session_;
  std::map<uint32_t, Chunks> groups_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_SEGMENT_HINTS_H_
