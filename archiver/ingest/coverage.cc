#include "archiver/ingest/coverage.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "archiver/base/limits.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

stored::v1::Gap MakeGap(stored::v1::Side side, uint32_t track_id,
                        int64_t start_us, int64_t end_us) {
  stored::v1::Gap gap;
  gap.set_side(side);
  gap.set_track_id(track_id);
  gap.set_start_us(start_us);
  gap.set_end_us(end_us);
  return gap;
}

}  // namespace

void Coverage::Restore(stored::v1::Side side, int64_t end_us) {
  sides_[IndexOf(side)].until_us = end_us;
  sides_[IndexOf(side)].restored = true;
}

void Coverage::Interrupt(stored::v1::Side side) {
  sides_[IndexOf(side)].interrupted = true;
}

void Coverage::AddTrack(stored::v1::Side side, uint32_t track_id) {
  // Of the tracks from before a restart nobody knows more than of their side.
  const SideCover& cover = sides_[IndexOf(side)];
  tracks_.try_emplace(
      track_id,
      TrackCover{side, cover.restored ? cover.until_us : std::nullopt});
}

void Coverage::RemoveTrack(uint32_t track_id) { tracks_.erase(track_id); }

bool Coverage::IsSilence(const SideCover& side, int64_t from_us,
                         int64_t to_us) const {
  int64_t silent_us = to_us - from_us;
  // What the whole side did not give is listed as the side's.
  const int64_t shared_us =
      std::min(to_us, side.gap_end_us) - std::max(from_us, side.gap_start_us);
  if (shared_us > 0) silent_us -= shared_us;
  return silent_us > limits::kGapThreshold_us;
}

void Coverage::Take(stored::v1::Side side_id, uint32_t track_id,
                    int64_t start_us, int64_t end_us,
                    std::vector<stored::v1::Gap>* gaps) {
  SideCover& side = sides_[IndexOf(side_id)];
  const int64_t covered_us = side.until_us.value_or(0);
  const bool interrupted =
      std::exchange(side.interrupted, false) && side.until_us.has_value();
  const int64_t threshold_us =
      interrupted ? limits::kBreakGap_us : limits::kGapThreshold_us;
  if (start_us > covered_us + threshold_us) {
    gaps->push_back(MakeGap(side_id, 0, covered_us, start_us));
    side.gap_start_us = covered_us;
    side.gap_end_us = start_us;
  }
  side.until_us = std::max(covered_us, end_us);
  side.restored = false;

  TrackCover& track = tracks_[track_id];
  track.side = side_id;
  if (track.until_us.has_value() &&
      IsSilence(side, *track.until_us, start_us)) {
    gaps->push_back(MakeGap(side_id, track_id, *track.until_us, start_us));
  }
  track.until_us = std::max(track.until_us.value_or(end_us), end_us);
}

std::optional<int64_t> Coverage::covered_until_us(stored::v1::Side side) const {
  return sides_[IndexOf(side)].until_us;
}

std::vector<stored::v1::Gap> Coverage::AtEnd() const {
  std::vector<stored::v1::Gap> gaps;
  int64_t end_us = 0;
  for (const SideCover& side : sides_) {
    end_us = std::max(end_us, side.until_us.value_or(0));
  }
  for (const stored::v1::Side id :
       {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK}) {
    const int64_t until_us = sides_[IndexOf(id)].until_us.value_or(0);
    if (end_us > until_us + limits::kGapThreshold_us) {
      gaps.push_back(MakeGap(id, 0, until_us, end_us));
    }
  }
  for (const auto& [track_id, track] : tracks_) {
    if (!track.until_us.has_value()) continue;
    const SideCover& side = sides_[IndexOf(track.side)];
    const int64_t until_us = side.until_us.value_or(0);
    if (IsSilence(side, *track.until_us, until_us)) {
      gaps.push_back(MakeGap(track.side, track_id, *track.until_us, until_us));
    }
  }
  return gaps;
}

}  // namespace diptych::ingest
