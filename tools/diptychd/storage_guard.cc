#include "tools/diptychd/storage_guard.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/ingest/ingest_errors.h"

namespace diptych::daemon {
namespace {

using base::LogLine;
using base::Severity;

absl::string_view Reason(const absl::Status& health) {
  if (absl::IsResourceExhausted(health)) return "no_space";
  if (absl::IsDeadlineExceeded(health)) return "stuck";
  return "failed";
}

}  // namespace

uint64_t DefaultReserve(const base::DiskSpace& space) {
  return std::min(limits::kDiskReserve_bytes,
                  space.total_bytes / limits::kDiskReserveShare);
}

uint64_t DiskFloor(uint64_t reserve_bytes) {
  return std::min(limits::kDiskFloor_bytes, reserve_bytes / 2);
}

StorageGuard::StorageGuard(Options options) : options_(std::move(options)) {}

bool StorageGuard::WellLocked() const {
  return std::all_of(health_.begin(), health_.end(),
                     [](const auto& each) { return each.second.ok(); });
}

void StorageGuard::Report(absl::string_view store, const absl::Status& health) {
  base::MutexLock lock(&mutex_);
  const bool was_well = WellLocked();
  health_[std::string(store)] = health;
  if (health.ok()) {
    LogLine(Severity::kInfo, "storage is well again; acknowledging goes on",
            {{"store", store}});
  } else {
    LogLine(Severity::kError,
            "nothing becomes durable; nothing is acknowledged",
            {{"store", store},
             {"reason", Reason(health)},
             {"error", absl::string_view(health.message())}});
  }
  const bool well = WellLocked();
  if (well != was_well && listener_) listener_(well);
}

void StorageGuard::SetListener(std::function<void(bool)> listener) {
  base::MutexLock lock(&mutex_);
  listener_ = std::move(listener);
  if (listener_) listener_(WellLocked());
}

absl::StatusOr<uint64_t> StorageGuard::FreeBytes() {
  const absl::Duration now = options_.clock->Monotonic();
  if (!looked_at_.has_value() || now - *looked_at_ >= limits::kSpaceCheck) {
    ASSIGN_OR_RETURN(const base::DiskSpace space,
                     options_.file_system->Space(options_.directory));
    free_bytes_ = space.free_bytes;
    looked_at_ = now;
  }
  return free_bytes_;
}

absl::Status StorageGuard::Admit() {
  base::MutexLock lock(&mutex_);
  bool waits_for_space = false;
  for (const auto& [store, health] : health_) {
    if (absl::IsResourceExhausted(health)) {
      waits_for_space = true;
    } else if (absl::IsDeadlineExceeded(health)) {
      return ingest::StorageUnhealthy(
          "the archive's disk does not answer; nothing is acknowledged until "
          "it does");
    } else if (!health.ok()) {
      return ingest::StorageFailed();
    }
  }
  const absl::StatusOr<uint64_t> free_bytes = FreeBytes();
  if (!free_bytes.ok()) {
    return ingest::StorageUnhealthy(
        "the archive cannot tell how much space its disk has");
  }
  if (!waits_for_space && *free_bytes >= options_.reserve_bytes) {
    said_low_ = false;
    return absl::OkStatus();
  }
  if (!std::exchange(said_low_, true)) {
    LogLine(Severity::kError, "space is low: new sessions are refused",
            {{"free_bytes", absl::StrCat(*free_bytes)},
             {"reserve_bytes", absl::StrCat(options_.reserve_bytes)}});
  }
  return ingest::NoSpace(*free_bytes, options_.reserve_bytes);
}

}  // namespace diptych::daemon
