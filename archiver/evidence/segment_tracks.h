#ifndef ARCHIVER_EVIDENCE_SEGMENT_TRACKS_H_
#define ARCHIVER_EVIDENCE_SEGMENT_TRACKS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "archiver/evidence/merkle.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::evidence {

// The leaves of a segment's tracks, as its manifest names them. Not
// thread-safe.
class SegmentTracks {
 public:
  // A chunk's tracks. Chunks in their order.
  void Add(const stored::v1::Chunk& chunk);

  // Adds each track with its root. REQUIRES: `segment` has all chunks that were
  // added, and no tracks.
  void WriteTo(stored::v1::Segment* segment) const;

  void Clear() { tracks_.clear(); }

 private:
  struct Track {
    stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
    GrowingTree leaves;
    std::vector<uint32_t> chunks;
  };
  std::map<uint32_t, Track> tracks_;
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_SEGMENT_TRACKS_H_
