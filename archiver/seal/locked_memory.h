#ifndef ARCHIVER_SEAL_LOCKED_MEMORY_H_
#define ARCHIVER_SEAL_LOCKED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"

namespace diptych::seal {

// Where the bytes of secrets lie: pages that are locked (never in swap), left
// out of core dumps, and between pages that nobody may touch. Handed out in
// slots of 32 bytes, which are zero when they are taken and wiped when they are
// given back. Grows in steps of limits::kLockedMemoryStep_bytes and never
// shrinks. Thread-safe.
//
// There is one for the whole process, which no owner could hand around: secrets
// are values that move through everything, and a page can't be locked by two.
class LockedMemory {
 public:
  static constexpr size_t kSlot_bytes = 32;

  // Of this process. Lives forever.
  static LockedMemory& Process();

  // For tests: of at most `max_bytes`.
  explicit LockedMemory(size_t max_bytes = limits::kMaxLockedMemory_bytes)
      : max_bytes_(max_bytes) {}
  ~LockedMemory();
  LockedMemory(const LockedMemory&) = delete;
  LockedMemory& operator=(const LockedMemory&) = delete;

  // A slot of zeros; never null. Beyond the arena's bound, or without any
  // memory for it, from the heap, which status() then says.
  uint8_t* Take() ABSL_LOCKS_EXCLUDED(mutex_);

  // Wipes the slot and takes it back.
  void GiveBack(uint8_t* slot) ABSL_LOCKS_EXCLUDED(mutex_);

  // OK if every secret so far lay in locked memory; otherwise why not
  // (FAILED_PRECONDITION: the system refuses to lock so much;
  // RESOURCE_EXHAUSTED: there are more secrets than the arena takes).
  absl::Status status() const ABSL_LOCKS_EXCLUDED(mutex_);

  size_t slots_in_use() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Step {
    // With the guard pages.
    uint8_t* mapping;
    uint8_t* slots;
  };

  bool Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Holds(const uint8_t* slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_bytes_;
  mutable base::Mutex mutex_;
  std::vector<Step> steps_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint8_t*> free_ ABSL_GUARDED_BY(mutex_);
  size_t in_use_ ABSL_GUARDED_BY(mutex_) = 0;
  // errno of the first mlock that was refused.
  int refused_ ABSL_GUARDED_BY(mutex_) = 0;
  bool overflowed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_LOCKED_MEMORY_H_
