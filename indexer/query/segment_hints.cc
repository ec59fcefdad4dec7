#include "indexer/query/segment_hints.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/steps.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::ChunkRow;
using stored::v1::SegmentRow;

// Groups that are looked at for the key frame before, at most: of a segment
// that came late the ones before it may be of any time.
constexpr uint32_t kMaxGroupsBack = 16;
constexpr uint32_t kLastGroup = UINT32_MAX / limits::kChunksPerPack;

}  // namespace

void AddHints(const SegmentRow& row, absl::Span<const ChunkRow* const> chunks,
              api::v1::Segment* segment) {
  // Of each track that begins without a key frame: the last one before.
  std::map<uint32_t, int64_t> before;
  for (const ChunkRow* const chunk : chunks) {
    const bool own = chunk->segment() == row.segment();
    if (!own && chunk->span() != row.span()) continue;
    for (const auto& key_frame : chunk->key_frames()) {
      if (own) {
        auto* hint = segment->add_key_frames();
        hint->set_track_id(key_frame.track_id());
        hint->set_at_us(key_frame.pts_us());
      }
      const int64_t back_us = Between(key_frame.pts_us(), row.start_us());
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

absl::StatusOr<const SegmentHints::Chunks*> SegmentHints::Group(
    uint32_t group) {
  const auto known = groups_.find(group);
  if (known != groups_.end()) return &known->second;
  const uint32_t first = group * limits::kChunksPerPack;
  ASSIGN_OR_RETURN(
      Chunks chunks,
      view_->Chunks(*session_, first, first + (limits::kChunksPerPack - 1)));
  std::erase_if(chunks, [&](const ChunkRow& chunk) {
    return chunk.position() >= position_;
  });
  return &groups_.emplace(group, std::move(chunks)).first->second;
}

absl::StatusOr<uint32_t> SegmentHints::GroupBefore(const SegmentRow& row) {
  const auto begins_before = [&](uint32_t group) -> absl::StatusOr<bool> {
    // Nothing is before the first.
    if (group == 0) return true;
    ASSIGN_OR_RETURN(const Chunks* const chunks, Group(group));
    return !chunks->empty() && chunks->front().segment() < row.segment();
  };
  // Segments have about as many chunks each. From there in growing steps, then
  // between the last two.
  uint32_t before = static_cast<uint32_t>(std::min<uint64_t>(
      uint64_t{row.segment()} * row.chunks() / limits::kChunksPerPack,
      kLastGroup));
  uint32_t after = before;
  ASSIGN_OR_RETURN(const bool upwards, begins_before(before));
  for (uint32_t step = 1;; step *= 2) {
    if (upwards) {
      if (after > kLastGroup - step) break;
      after += step;
      ASSIGN_OR_RETURN(const bool goes_on, begins_before(after));
      if (!goes_on) break;
      before = after;
    } else {
      before = before > step ? before - step : 0;
      ASSIGN_OR_RETURN(const bool found, begins_before(before));
      if (found) break;
      after = before;
    }
  }
  while (after - before > 1) {
    const uint32_t middle = before + (after - before) / 2;
    ASSIGN_OR_RETURN(const bool is_before, begins_before(middle));
    (is_before ? before : after) = middle;
  }
  return before;
}

absl::Status SegmentHints::AddTo(const base::Uuid& session,
                                 const SegmentRow& row,
                                 api::v1::Segment* segment) {
  if (session_ != session) {
    groups_.clear();
    session_ = session;
  }
  // Only a track that begins without a key frame needs what came before.
  const bool goes_back = !row.tracks_without_key_frame().empty();
  ASSIGN_OR_RETURN(uint32_t first, GroupBefore(row));
  std::vector<const ChunkRow*> near;
  for (uint32_t group = first; group <= kLastGroup; ++group) {
    ASSIGN_OR_RETURN(const Chunks* const chunks, Group(group));
    if (chunks->empty() || chunks->front().segment() > row.segment()) break;
    for (const ChunkRow& chunk : *chunks) {
      if (chunk.segment() == row.segment() ||
          (goes_back && chunk.segment() < row.segment())) {
        near.push_back(&chunk);
      }
    }
  }
  for (uint32_t back = 0; goes_back && first > 0 && back < kMaxGroupsBack;
       ++back) {
    ASSIGN_OR_RETURN(const Chunks* chunks, Group(first));
    if (!chunks->empty() && Between(chunks->front().end_us(), row.start_us()) >
                                limits::kMaxLookBack_us) {
      break;
    }
    ASSIGN_OR_RETURN(chunks, Group(--first));
    for (const ChunkRow& chunk : *chunks) near.push_back(&chunk);
  }
  AddHints(row, near, segment);
  return absl::OkStatus();
}

}  // namespace diptych::indexer
