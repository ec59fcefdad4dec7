#include "tools/gateway/picture_order.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "archiver/base/limits.h"

namespace diptych::gateway {

PictureOrder PictureOrder::FromPresentationTimes(int64_t step_us,
                                                 int min_delay) {
  return PictureOrder(/*keys_are_times=*/true, step_us, min_delay);
}

PictureOrder PictureOrder::FromOrderCounts(int64_t step_us, int min_delay) {
  return PictureOrder(/*keys_are_times=*/false, step_us, min_delay);
}

void PictureOrder::Push(int64_t key, bool new_sequence) {
  // A presentation time is comparable over the whole stream.
  if (new_sequence && !keys_are_times_) ++sequence_;
  const uint64_t index = first_index_ + pictures_.size();
  pictures_.push_back({.sequence = sequence_, .key = key, .rank = {}});
  waiting_.push({.sequence = sequence_, .key = key, .index = index});
}

void PictureOrder::RankNext() {
  const Waiting first = waiting_.top();
  waiting_.pop();
  pictures_[first.index - first_index_].rank = ranked_;
  const int64_t time_us =
      keys_are_times_ ? first.key : static_cast<int64_t>(ranked_) * step_us_;
  // One that was held back for longer than any decoder may.
  const int64_t previous_us = times_.empty() ? time_us : times_.back();
  times_.push_back(std::max(time_us, previous_us));
  const auto late = static_cast<int64_t>(first.index - ranked_);
  if (first.index > ranked_ && !started_) delay_ = std::max(delay_, late);
  ++ranked_;
}

int64_t PictureOrder::PtsOf(const Picture& picture) const {
  return keys_are_times_ ? picture.key
                         : static_cast<int64_t>(*picture.rank) * step_us_;
}

int64_t PictureOrder::TimeOfRank(int64_t rank) const {
  const int64_t offset = rank - static_cast<int64_t>(first_rank_);
  if (offset < 0) return times_.front() + offset * step_us_;
  return times_[std::min<size_t>(offset, times_.size() - 1)];
}

std::optional<PictureOrder::Times> PictureOrder::Pop() {
  if (pictures_.empty()) return std::nullopt;
  // The first pictures tell how far decoding runs ahead.
  const size_t look_ahead = limits::kMaxPictureReorder * (started_ ? 1 : 2);
  if (!finished_ && pictures_.size() <= look_ahead) return std::nullopt;
  while (!waiting_.empty() &&
         (finished_ || waiting_.size() > limits::kMaxPictureReorder ||
          !pictures_.front().rank.has_value())) {
    RankNext();
  }
  started_ = true;

  const Picture picture = pictures_.front();
  Times times;
  times.pts_us = PtsOf(picture);
  const auto index = static_cast<int64_t>(first_index_);
  times.dts_us = TimeOfRank(index - delay_);
  for (const Picture& later : pictures_) {
    if (keys_are_times_ || later.rank.has_value()) {
      times.dts_us = std::min(times.dts_us, PtsOf(later));
    }
  }
  if (last_dts_us_.has_value()) {
    times.dts_us = std::max(times.dts_us, *last_dts_us_);
  }
  last_dts_us_ = times.dts_us;
  times.dts_us = std::min(times.dts_us, times.pts_us);

  pictures_.pop_front();
  ++first_index_;
  const int64_t needed = index + 1 - delay_;
  while (times_.size() > 1 && static_cast<int64_t>(first_rank_) < needed) {
    times_.pop_front();
    ++first_rank_;
  }
  return times;
}

}  // namespace diptych::gateway
