#ifndef TOOLS_DIPTYCHD_STORAGE_GUARD_H_
#define TOOLS_DIPTYCHD_STORAGE_GUARD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/mutex.h"

namespace diptych::daemon {

// The reserve of an archive that was given none: limits::kDiskReserve_bytes, or
// its share of a smaller disk.
uint64_t DefaultReserve(const base::DiskSpace& space);

// What is left alone of the disk under a reserve, so that a small one still has
// something for open sessions.
uint64_t DiskFloor(uint64_t reserve_bytes);

// Knows whether the archive's disk takes what it is given: says so in the log
// and to whoever listens, and says whether a new session may begin.
// Thread-safe.
class StorageGuard {
 public:
  struct Options {
    base::FileSystem* file_system = nullptr;
    base::Clock* clock = nullptr;
    // On the archive's disk.
    std::string directory;
    // With less than this free, no new session begins.
    uint64_t reserve_bytes = 0;
  };

  // Members of `options` must outlive this.
  explicit StorageGuard(Options options);

  // A store's health has changed (log::Committer::health).
  void Report(absl::string_view store, const absl::Status& health)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // `listener` is called with whether all is well: now, and at each change; one
  // call at a time, under a lock. Null ends that.
  void SetListener(std::function<void(bool)> listener)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Why no new session can be taken, for its gateway. Looks at the disk at most
  // every limits::kSpaceCheck.
  absl::Status Admit() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool WellLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<uint64_t> FreeBytes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  base::Mutex mutex_;
  std::map<std::string, absl::Status> health_ ABSL_GUARDED_BY(mutex_);
  std::function<void(bool)> listener_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Duration> looked_at_ ABSL_GUARDED_BY(mutex_);
  uint64_t free_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool said_low_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych::daemon

#endif  // TOOLS_DIPTYCHD_STORAGE_GUARD_H_
