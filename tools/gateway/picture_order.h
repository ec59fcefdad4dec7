#ifndef TOOLS_GATEWAY_PICTURE_ORDER_H_
#define TOOLS_GATEWAY_PICTURE_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <queue>
#include <vector>

namespace diptych::gateway {

// Finds the times that a container does not give. Matroska has no decode times;
// an elementary stream has neither, only the order of its pictures. Pictures
// come in decode order and leave in decode order, a few later. Memory is
// bounded by twice limits::kMaxPictureReorder. Not thread-safe.
class PictureOrder {
 public:
  struct Times {
    int64_t pts_us = 0;
    int64_t dts_us = 0;
  };

  // For pictures with presentation times; `step_us` is about one picture's
  // time.
  static PictureOrder FromPresentationTimes(int64_t step_us, int min_delay);

  // For pictures that only have an order count: the n-th to be shown gets n
  // times `step_us`.
  static PictureOrder FromOrderCounts(int64_t step_us, int min_delay);

  // `key`: the presentation time in µs, or the order count. `new_sequence`:
  // order counts begin again here.
  void Push(int64_t key, bool new_sequence);

  // No more pictures: all that are inside can leave.
  void Finish() { finished_ = true; }

  // The next picture's times, in the order of Push; nullopt if later pictures
  // must be seen first. dts is never after pts; it goes backwards only if pts
  // does so by more than a decoder's reordering.
  std::optional<Times> Pop();

 private:
  struct Picture {
    uint64_t sequence = 0;
    int64_t key = 0;
    std::optional<uint64_t> rank;
  };
  struct Waiting {
    uint64_t sequence = 0;
    int64_t key = 0;
    uint64_t index = 0;

    friend auto operator<=>(const Waiting&, const Waiting&) = default;
  };

  PictureOrder(bool keys_are_times, int64_t step_us, int min_delay)
      : keys_are_times_(keys_are_times), step_us_(step_us), delay_(min_delay) {}

  void RankNext();
  int64_t PtsOf(const Picture& picture) const;
  // The presentation time that is `rank`-th; before the first, extrapolated.
  int64_t TimeOfRank(int64_t rank) const;

  const bool keys_are_times_;
  const int64_t step_us_;
  // Pictures by which decoding runs ahead of showing.
  int64_t delay_;
  bool finished_ = false;
  bool started_ = false;
  uint64_t sequence_ = 0;
  // Those pushed and not popped; the first one's index is first_index_.
  std::deque<Picture> pictures_;
  uint64_t first_index_ = 0;
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> waiting_;
  uint64_t ranked_ = 0;
  // Times of the newest ranks, ascending; times_[0] is that of first_rank_.
  std::deque<int64_t> times_;
  uint64_t first_rank_ = 0;
  std::optional<int64_t> last_dts_us_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_PICTURE_ORDER_H_
