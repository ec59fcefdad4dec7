#ifndef INDEXER_BUILDER_DISK_ROOM_H_
#define INDEXER_BUILDER_DISK_ROOM_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "archiver/base/file.h"

namespace diptych::indexer {

// Says how much of a disk a rebuild may use: the log's reserve is not its.
// Thread-safe.
class DiskRoom {
 public:
  // Of the disk that `folder` lies on. `reserve_bytes` stay free; none: as many
  // as an archive keeps that was told nothing.
  DiskRoom(base::FileSystem* files, std::string folder,
           std::optional<uint64_t> reserve_bytes);

  // RESOURCE_EXHAUSTED if so many bytes more would take from the reserve.
  absl::Status For(uint64_t bytes) const;

 private:
  base::FileSystem* const files_;
  const std::string folder_;
  const std::optional<uint64_t> reserve_bytes_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_DISK_ROOM_H_
