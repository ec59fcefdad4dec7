#ifndef INDEXER_RETRIEVAL_READ_PLAN_H_
#define INDEXER_RETRIEVAL_READ_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// What somebody asks for. Times are session time.
struct ReadRange {
  std::optional<int64_t> from_us;
  std::optional<int64_t> to_us;
  // None: both.
  std::vector<stored::v1::Side> sides;
};

// Where a track of the clip begins.
struct TrackStart {
  // Packets with a smaller pts are left out.
  int64_t pts_us = 0;
  // Also those, in decoding order, before a key frame of at least that pts.
  bool at_key_frame = false;
};

// What answers it, made from the index and the span descriptions alone: no
// chunk is opened.
struct ReadPlan {
  // After snapping to key frames and to the session's ends.
  int64_t from_us = 0;
  int64_t to_us = 0;
  // True if nothing of the session is left out.
  bool whole_session = false;
  // Packets whose pts is not below are left out.
  int64_t end_us = 0;
  // What the file carries. A track whose parameters change in a later span is a
  // further one, unless a decoder can follow from the stream itself; the same
  // parameters seen again are not.
  std::vector<stored::v1::Track> tracks;
  // (span, track id) to place in `tracks`; what is not in it is left out.
  std::map<std::pair<uint32_t, uint32_t>, size_t> output;
  // By track id.
  std::map<uint32_t, TrackStart> starts;
  // What to open, by the beginning of their windows.
  std::vector<ChunkRef> chunks;
};

// INVALID_ARGUMENT if from_us is not before to_us; NOT_FOUND if the session has
// no track of the sides; OUT_OF_RANGE if no chunk touches the range;
// FAILED_PRECONDITION if the range needs more than limits::kMaxOutputTracks;
// DATA_LOSS if a chunk in it is missing or a span can't be opened.
//
// A video track begins at its last key frame at or before from_us; one that has
// none there begins with the rest. Audio begins at the earliest of the videos'
// beginnings, or at from_us if there is none.
absl::StatusOr<ReadPlan> PlanRead(const ReadRange& range,
                                  SessionReader* session);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_READ_PLAN_H_
