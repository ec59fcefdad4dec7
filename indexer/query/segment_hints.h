#ifndef INDEXER_QUERY_SEGMENT_HINTS_H_
#define INDEXER_QUERY_SEGMENT_HINTS_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/index_view.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Fills in a segment's key frames, and from where playing it has to begin:
// `segment` is what it is filled into, `chunks` are its session's. Goes back by
// a minute at most, and never into another span, whose tracks are others. Pure.
void AddHints(const stored::v1::SegmentRow& row,
              const std::vector<stored::v1::ChunkRow>& chunks,
              api::v1::Segment* segment);

// The chunks of the session at hand, read once however many of its segments are
// shown. Not thread-safe.
class ChunkCache {
 public:
  // `view` must outlive it.
  explicit ChunkCache(const IndexView* view) : view_(view) {}

  // Good until another session's are asked for.
  absl::StatusOr<const std::vector<stored::v1::ChunkRow>*> Of(
      const base::Uuid& session) {
    if (session_ != session) {
      ASSIGN_OR_RETURN(chunks_, view_->Chunks(session));
      session_ = session;
    }
    return &chunks_;
  }

 private:
  const IndexView* const view_;
  std::optional<base::Uuid> session_;
  std::vector<stored::v1::ChunkRow> chunks_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_SEGMENT_HINTS_H_
