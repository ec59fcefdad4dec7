#include "tools/diptych/verify/timeline.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr int64_t kSecond_us = 1'000'000;

}  // namespace

Timeline::Timeline(int64_t from_us, int64_t to_us)
    : from_us_(from_us),
      to_us_(to_us),
      seconds_(static_cast<size_t>((to_us - from_us + kSecond_us - 1) /
                                   kSecond_us)) {}

void Timeline::AddPacket(int64_t pts_us, std::optional<size_t> key) {
  if (pts_us < from_us_ || pts_us >= to_us_) return;
  Second& second =
      seconds_[static_cast<size_t>((pts_us - from_us_) / kSecond_us)];
  ++second.packets;
  if (key.has_value()) {
    ++second.signed_packets;
    second.key = static_cast<uint16_t>(*key);
  }
}

void Timeline::LeaveOut(int64_t from_us, int64_t to_us) {
  from_us = std::max(from_us, from_us_);
  to_us = std::min(to_us, to_us_);
  if (from_us >= to_us) return;
  const auto first = static_cast<size_t>((from_us - from_us_) / kSecond_us);
  const auto last = static_cast<size_t>((to_us - 1 - from_us_) / kSecond_us);
  for (size_t i = first; i <= last; ++i) seconds_[i].left_out = true;
}

StateRange Timeline::StateOf(size_t index) const {
  const Second& second = seconds_[index];
  StateRange range;
  range.from_us = from_us_ + static_cast<int64_t>(index) * kSecond_us;
  range.to_us = std::min(range.from_us + kSecond_us, to_us_);
  if (second.packets == 0) {
    range.state =
        second.left_out ? SecondState::kLeftOut : SecondState::kNothing;
  } else if (second.signed_packets == second.packets) {
    range.state = SecondState::kSigned;
    range.key = second.key;
  } else {
    range.state = SecondState::kArchived;
  }
  return range;
}

std::vector<StateRange> Timeline::Ranges() const {
  std::vector<StateRange> ranges;
  for (size_t i = 0; i < seconds_.size(); ++i) {
    const StateRange next = StateOf(i);
    if (!ranges.empty() && ranges.back().state == next.state &&
        ranges.back().key == next.key) {
      ranges.back().to_us = next.to_us;
    } else {
      ranges.push_back(next);
    }
  }
  return ranges;
}

}  // namespace diptych::verify
