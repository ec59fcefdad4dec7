#include "archiver/seal/locked_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <sodium.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"

namespace diptych::seal {
namespace {

constexpr size_t kSlotsPerStep =
    limits::kLockedMemoryStep_bytes / LockedMemory::kSlot_bytes;

size_t PageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

LockedMemory& LockedMemory::Process() {
  static LockedMemory* const memory = new LockedMemory;
  return *memory;
}

LockedMemory::~LockedMemory() {
  for (const Step& step : steps_) {
    sodium_memzero(step.slots, limits::kLockedMemoryStep_bytes);
    munmap(step.mapping, limits::kLockedMemoryStep_bytes + 2 * PageBytes());
  }
}

bool LockedMemory::Grow() {
  if ((steps_.size() + 1) * limits::kLockedMemoryStep_bytes > max_bytes_) {
    return false;
  }
  const size_t page = PageBytes();
  void* const mapping =
      mmap(nullptr, limits::kLockedMemoryStep_bytes + 2 * page, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return false;
  uint8_t* const slots = static_cast<uint8_t*>(mapping) + page;
  if (mprotect(slots, limits::kLockedMemoryStep_bytes,
               PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, limits::kLockedMemoryStep_bytes + 2 * page);
    return false;
  }
  // Secrets are worth working with also where they can't be locked; whoever
  // asks for the status is told.
  if (mlock(slots, limits::kLockedMemoryStep_bytes) != 0 && refused_ == 0) {
    refused_ = errno;
  }
  madvise(slots, limits::kLockedMemoryStep_bytes, MADV_DONTDUMP);
  steps_.push_back({static_cast<uint8_t*>(mapping), slots});
  // So that giving back never allocates.
  free_.reserve(steps_.size() * kSlotsPerStep);
  for (size_t i = kSlotsPerStep; i > 0; --i) {
    free_.push_back(slots + (i - 1) * kSlot_bytes);
  }
  return true;
}

bool LockedMemory::Holds(const uint8_t* slot) const {
  return std::any_of(steps_.begin(), steps_.end(), [slot](const Step& step) {
    return slot >= step.slots &&
           slot < step.slots + limits::kLockedMemoryStep_bytes;
  });
}

uint8_t* LockedMemory::Take() {
  base::MutexLock lock(&mutex_);
  ++in_use_;
  if (free_.empty() && !Grow()) {
    overflowed_ = true;
    return new uint8_t[kSlot_bytes]();
  }
  uint8_t* const slot = free_.back();
  free_.pop_back();
  return slot;
}

void LockedMemory::GiveBack(uint8_t* slot) {
  sodium_memzero(slot, kSlot_bytes);
  base::MutexLock lock(&mutex_);
  --in_use_;
  if (overflowed_ && !Holds(slot)) {
    delete[] slot;
    return;
  }
  free_.push_back(slot);
}

absl::Status LockedMemory::status() const {
  base::MutexLock lock(&mutex_);
  if (refused_ != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "memory for keys can't be locked, so that they may get into swap (",
        std::strerror(refused_),
        "): raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)"));
  }
  if (overflowed_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more keys are held than fit into ", max_bytes_ >> 20,
                     " MiB of locked memory"));
  }
  return absl::OkStatus();
}

size_t LockedMemory::slots_in_use() const {
  base::MutexLock lock(&mutex_);
  return in_use_;
}

}  // namespace diptych::seal
