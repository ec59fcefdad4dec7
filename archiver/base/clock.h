#ifndef ARCHIVER_BASE_CLOCK_H_
#define ARCHIVER_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace diptych::base {

// Where time comes from, so that tests can hold it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall time; may jump.
  virtual absl::Time Now() = 0;

  // Time since an arbitrary moment; never goes back. For timeouts.
  virtual absl::Duration Monotonic() = 0;

  // The machine's clock. Lives forever.
  static Clock* Real();
};

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_CLOCK_H_
