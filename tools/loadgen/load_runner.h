#ifndef TOOLS_LOADGEN_LOAD_RUNNER_H_
#define TOOLS_LOADGEN_LOAD_RUNNER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"
#include "tools/loadgen/load_session.h"

namespace diptych::loadgen {

struct LoadPlan {
  size_t sessions = 1;
  // Of media.
  absl::Duration session_length;
  // The first sessions start evenly spread over this.
  absl::Duration stagger;
  // A session that ends before this is over is replaced by a new one, if
  // `replace`.
  absl::Duration duration;
  bool replace = false;
  // Sessions that have not ended so long after they should have are aborted,
  // and count as failed.
  absl::Duration finish_timeout;
  uint64_t seed = 0;
  // Between two calls of on_progress; zero: none.
  absl::Duration progress_every;
  std::function<void(size_t open_sessions)> on_progress;
};

// Runs sessions until all have ended, on the calling thread. Once `stop` is
// true they end where they are.
void RunLoad(const LoadContext& context, const LoadPlan& plan,
             const std::atomic<bool>& stop);

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_LOAD_RUNNER_H_
