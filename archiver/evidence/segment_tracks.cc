#include "archiver/evidence/segment_tracks.h"

#include <cstddef>

#include "archiver/evidence/merkle.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::evidence {

void SegmentTracks::Add(const stored::v1::Chunk& chunk) {
  for (const stored::v1::ChunkTrack& named : chunk.tracks()) {
    Track& track = tracks_[named.track_id()];
    track.side = named.side();
    track.leaves.Add(LeafHash(named.leaf()));
    track.chunks.push_back(chunk.chunk());
  }
}

void SegmentTracks::WriteTo(stored::v1::Segment* segment) const {
  for (const auto& [track_id, track] : tracks_) {
    stored::v1::SegmentTrack* named = segment->add_tracks();
    named->set_track_id(track_id);
    named->set_side(track.side);
    named->set_root(track.leaves.Root());
    if (track.chunks.size() == static_cast<size_t>(segment->chunks_size())) {
      continue;
    }
    named->mutable_chunks()->Assign(track.chunks.begin(), track.chunks.end());
  }
}

}  // namespace diptych::evidence
