#ifndef ARCHIVER_EVIDENCE_TILE_WRITER_H_
#define ARCHIVER_EVIDENCE_TILE_WRITER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"

namespace diptych::evidence {

// Makes the log tree's tiles (tile_store.h) as it grows. Holds no more than the
// tiles at its right edge and those not yet written. Copies are cheap and go
// their own ways, so that an attempt that failed can be thrown away. One writer
// of a folder at a time; not thread-safe.
class TileWriter {
 public:
  // Goes on with the tree of `size` leaves in `directory` (DIR/tlog). NOT_FOUND
  // or DATA_LOSS, naming the file, if the tiles at its edge are not there or
  // not well-formed. Size 0 needs none.
  static absl::StatusOr<TileWriter> Open(base::FileSystem* file_system,
                                         const std::string& directory,
                                         uint64_t size);

  // REQUIRES: `leaf_data` has kLeafData_bytes.
  void Add(absl::string_view leaf_data);

  // Writes what was added since the last Write, and syncs it. Each file appears
  // whole or not at all; after an error any of them may be there.
  absl::Status Write();

  // Removes partial tiles whose whole tile was written since the last call.
  // Errors are none: they only take space.
  void RemovePartials();

  uint64_t size() const { return size_; }

 private:
  TileWriter(base::FileSystem* file_system, std::string directory)
      : file_system_(file_system), directory_(std::move(directory)) {}

  void AddEntry(absl::string_view leaf_data);
  void AddHash(int level, const std::string& hash);
  absl::Status WriteFile(const std::string& path, const std::string& content,
                         std::set<std::string>* folders);

  base::FileSystem* file_system_;
  std::string directory_;
  uint64_t size_ = 0;
  // The tiles at the edge, by level, lowest first; each below 256 hashes.
  std::vector<std::string> edge_;
  std::string entries_;
  // Whole tiles that are to be written, by path.
  std::map<std::string, std::string> whole_;
  // Whole tiles that are written, and may still have partial ones beside them.
  std::vector<std::string> completed_;
  // Folders that are there, durably.
  std::set<std::string> known_folders_;
  // Of the tree that is on disk.
  uint64_t written_size_ = 0;
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TILE_WRITER_H_
