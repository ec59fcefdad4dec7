#ifndef ARCHIVER_BASE_FAKE_CLOCK_H_
#define ARCHIVER_BASE_FAKE_CLOCK_H_

#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/mutex.h"

namespace diptych::base {

// A clock that only a test moves. Thread-safe.
class FakeClock final : public Clock {
 public:
  absl::Time Now() override ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    return absl::FromUnixSeconds(1'800'000'000) + passed_ + stepped_;
  }
  absl::Duration Monotonic() override ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    return passed_;
  }
  void Advance(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    passed_ += duration;
  }
  // Somebody sets the time of day, forward or back.
  void Step(absl::Duration by) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    stepped_ += by;
  }

 private:
  Mutex mutex_;
  absl::Duration passed_ ABSL_GUARDED_BY(mutex_);
  absl::Duration stepped_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_FAKE_CLOCK_H_
