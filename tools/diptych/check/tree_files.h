#ifndef TOOLS_DIPTYCH_CHECK_TREE_FILES_H_
#define TOOLS_DIPTYCH_CHECK_TREE_FILES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/log/record.h"

namespace diptych::check {

inline constexpr size_t kTile_hashes = evidence::kTileWidth;
// Position and digest, with two bytes of length in front.
inline constexpr size_t kEntry_bytes = 2 + evidence::kLeafData_bytes;
inline constexpr char kEntriesKind[] = "entries";

// A file of the log tree (C2SP tlog-tiles): tile/KIND/N, tile/KIND/N.p/W.
struct TileName {
  // A level as a decimal number, or "entries".
  std::string kind;
  uint64_t index = 0;
  // 1 to 256; 256: the whole tile, without ".p".
  size_t width = kTile_hashes;

  // Under the tree's folder.
  std::string Path() const;
};

// An entry of the tree: what a leaf's data says.
struct Entry {
  log::Position position = 0;
  std::string digest;
};

// The bytes of an entry, and the entries of a tile; nullopt where bytes are
// none.
std::string EncodeEntry(log::Position position, absl::string_view digest);
std::vector<std::optional<Entry>> DecodeEntries(absl::string_view bytes);

// The files of DIR/tlog, as they were when List was called. Not thread-safe.
class TreeFiles {
 public:
  TreeFiles(base::FileSystem* file_system, std::string directory);

  // Walks the folder; says what does not belong into it. NOT_FOUND if there is
  // no folder.
  absl::Status List();

  std::string Place(absl::string_view path) const;
  // NOT_FOUND if there is no such file, RESOURCE_EXHAUSTED if it is larger.
  absl::StatusOr<std::string> Read(absl::string_view path,
                                   size_t max_bytes) const;

  // Widths under 256 that a tile has files of.
  std::vector<size_t> PartialWidths(const std::string& kind,
                                    uint64_t index) const;
  // Names that are none of a tree.
  const std::vector<std::string>& strangers() const { return strangers_; }
  // One past the last leaf that a file stands for, and which file.
  uint64_t last_leaf_end() const { return last_leaf_end_; }
  const std::string& last_leaf_path() const { return last_leaf_path_; }
  // In timestamps/, without the folder.
  const std::vector<std::string>& timestamps() const { return timestamps_; }

 private:
  absl::Status Walk(const std::string& path, int depth);
  void Take(const std::string& path);

  base::FileSystem* const file_system_;
  const std::string directory_;
  std::map<std::pair<std::string, uint64_t>, std::set<size_t>> partial_;
  size_t partial_count_ = 0;
  std::vector<std::string> strangers_;
  std::vector<std::string> timestamps_;
  uint64_t last_leaf_end_ = 0;
  std::string last_leaf_path_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_TREE_FILES_H_
