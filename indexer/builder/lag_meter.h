#ifndef INDEXER_BUILDER_LAG_METER_H_
#define INDEXER_BUILDER_LAG_METER_H_

#include <array>
#include <cstdint>
#include <deque>

#include "absl/time/time.h"
#include "archiver/log/record.h"

namespace diptych::indexer {

// For how long what is durable in the log has waited to be in the index. Times
// are base::Clock::Monotonic's and never go back. Not thread-safe.
class LagMeter {
 public:
  // Everything before `end` is durable now; never less than before.
  void Arrived(log::Position end, absl::Duration now);
  // Everything before `end` is in the index now.
  void Consumed(log::Position end, absl::Duration now);

  // How long the oldest of what waits has waited; zero if nothing does.
  absl::Duration Lag(absl::Duration now) const;
  // The longest that anything waited in the last minute, what waits included.
  absl::Duration Worst(absl::Duration now) const;

 private:
  static constexpr int64_t kSeconds = 60;

  struct Arrival {
    log::Position end = 0;
    absl::Duration at;
  };
  // The worst of one second.
  struct Second {
    int64_t second = -1;
    absl::Duration worst;
  };

  void Note(absl::Duration lag, absl::Duration now);

  // limits::kMaxLagMarks at most; more of them count as one.
  std::deque<Arrival> waiting_;
  std::array<Second, kSeconds> seconds_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_LAG_METER_H_
