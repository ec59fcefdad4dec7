#include "indexer/builder/lag_meter.h"

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"

namespace diptych::indexer {

void LagMeter::Arrived(log::Position end, absl::Duration now) {
  if (waiting_.size() >= limits::kMaxLagMarks) {
    // With the time of the last one, which came before it: never too short.
    waiting_.back().end = end;
    return;
  }
  waiting_.push_back({end, now});
}

void LagMeter::Consumed(log::Position end, absl::Duration now) {
  if (waiting_.empty() || waiting_.front().end > end) return;
  Note(now - waiting_.front().at, now);
  while (!waiting_.empty() && waiting_.front().end <= end) {
    waiting_.pop_front();
  }
}

absl::Duration LagMeter::Lag(absl::Duration now) const {
  return waiting_.empty() ? absl::ZeroDuration() : now - waiting_.front().at;
}

absl::Duration LagMeter::Worst(absl::Duration now) const {
  absl::Duration worst = Lag(now);
  const int64_t second = absl::ToInt64Seconds(now);
  for (const Second& slot : seconds_) {
    if (slot.second < 0 || slot.second <= second - kSeconds) continue;
    worst = std::max(worst, slot.worst);
  }
  return worst;
}

void LagMeter::Note(absl::Duration lag, absl::Duration now) {
  const int64_t second = absl::ToInt64Seconds(now);
  Second& slot = seconds_[static_cast<size_t>(second % kSeconds)];
  if (slot.second != second) slot = {second, absl::ZeroDuration()};
  slot.worst = std::max(slot.worst, lag);
}

}  // namespace diptych::indexer
