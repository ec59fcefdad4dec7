#include "indexer/query/segment_hints.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "archiver/base/limits.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

using stored::v1::ChunkRow;

void AddHints(const stored::v1::SegmentRow& row,
              const std::vector<ChunkRow>& chunks, api::v1::Segment* segment) {
  // Of each track that begins without a key frame: the last one before.
  std::map<uint32_t, int64_t> before;
  for (const ChunkRow& chunk : chunks) {
    const bool own = chunk.segment() == row.segment();
    if (!own && chunk.span() != row.span()) continue;
    for (const auto& key_frame : chunk.key_frames()) {
      if (own) {
        auto* hint = segment->add_key_frames();
        hint->set_track_id(key_frame.track_id());
        hint->set_at_us(key_frame.pts_us());
      }
      const int64_t back_us = row.start_us() - key_frame.pts_us();
      if (back_us < 0 || back_us > limits::kMaxLookBack_us) continue;
      const auto [at, added] =
          before.try_emplace(key_frame.track_id(), key_frame.pts_us());
      if (!added) at->second = std::max(at->second, key_frame.pts_us());
    }
  }
  auto* hints = segment->mutable_key_frames();
  std::sort(hints->begin(), hints->end(), [](const auto& a, const auto& b) {
    return std::make_tuple(a.at_us(), a.track_id()) <
           std::make_tuple(b.at_us(), b.track_id());
  });
  int64_t play_from_us = row.start_us();
  for (const uint32_t track : row.tracks_without_key_frame()) {
    const auto at = before.find(track);
    if (at == before.end()) continue;
    play_from_us = std::min(play_from_us, at->second);
  }
  segment->set_play_from_us(play_from_us);
}

}  // namespace diptych::indexer
