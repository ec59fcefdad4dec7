#include "indexer/builder/disk_room.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"

namespace diptych::indexer {

DiskRoom::DiskRoom(base::FileSystem* files, std::string folder,
                   std::optional<uint64_t> reserve_bytes)
    : files_(files),
      folder_(std::move(folder)),
      reserve_bytes_(reserve_bytes) {}

absl::Status DiskRoom::For(uint64_t bytes) const {
  ASSIGN_OR_RETURN(const base::DiskSpace space, files_->Space(folder_));
  const uint64_t reserve_bytes = reserve_bytes_.value_or(
      std::min(limits::kDiskReserve_bytes,
               space.total_bytes / limits::kDiskReserveShare));
  if (space.free_bytes >= reserve_bytes &&
      space.free_bytes - reserve_bytes >= bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "the disk has no room for making the index again: ", space.free_bytes,
      " bytes are free, ", bytes, " more are needed now, and ", reserve_bytes,
      " are the log's reserve"));
}

}  // namespace diptych::indexer
