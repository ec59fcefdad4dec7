#ifndef ARCHIVER_EVIDENCE_TILE_STORE_H_
#define ARCHIVER_EVIDENCE_TILE_STORE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/log/record.h"

namespace diptych::evidence {

// The log tree on disk: DIR/tlog in the layout of C2SP tlog-tiles (FORMAT.md,
// "The log tree"). Reading of it; tile_writer.h writes.

inline constexpr uint64_t kTileWidth = 256;
// Leaf data of the log tree: a position and a digest.
inline constexpr size_t kLeafData_bytes = 40;

// "tile/0/x001/x234/067", with ".p/W" behind it for a width below 256. Within
// DIR/tlog.
std::string TilePath(int level, uint64_t index, uint64_t width);
// "tile/entries/x001/x234/067" likewise.
std::string EntriesPath(uint64_t index, uint64_t width);

// Within DIR/tlog: the log's latest checkpoint; the latest with cosignatures of
// witnesses; time stamps.
inline constexpr absl::string_view kCheckpointFile = "checkpoint";
inline constexpr absl::string_view kCosignedFile = "cosigned";
inline constexpr absl::string_view kTimestampFolder = "timestamps";

// Reads a file whole. NOT_FOUND if there is none, RESOURCE_EXHAUSTED if it is
// over `max_bytes`.
absl::StatusOr<std::string> ReadTreeFile(base::FileSystem* file_system,
                                         const std::string& path,
                                         size_t max_bytes);

// One leaf, taken apart.
struct LogLeaf {
  log::Position position = 0;
  // 32 bytes.
  std::string digest;

  // As it is hashed: LogLeafData.
  std::string Data() const;
};

// The log tree as it was when it had `size` leaves, read from the tiles of that
// tree or of any later one. What is read is not verified: whoever must know
// compares the root, and leaves by their proofs. Keeps up to
// limits::kTileCache_tiles at hand. Not thread-safe; any number may read while
// the tree grows.
//
// Errors of all functions: NOT_FOUND (naming the file) if a tile is not there,
// DATA_LOSS if one has not the form that it must have, others from the disk.
class TileTree {
 public:
  // `directory` is DIR/tlog.
  TileTree(base::FileSystem* file_system, std::string directory, uint64_t size);

  uint64_t size() const { return size_; }

  absl::StatusOr<std::string> Root();

  // From the leaf up. INVALID_ARGUMENT if the tree has no such leaf.
  absl::StatusOr<std::vector<std::string>> ProveInclusion(uint64_t index);

  // That the tree of `old_size` leaves is this one's beginning; empty for the
  // same size. INVALID_ARGUMENT if that is 0 or larger than this one.
  absl::StatusOr<std::vector<std::string>> ProveConsistency(uint64_t old_size);

  // INVALID_ARGUMENT if the tree has no such leaf.
  absl::StatusOr<LogLeaf> Leaf(uint64_t index);

  // The first `count` hashes of a tile, one behind the other. `count` is at
  // most kTileWidth and what the tree has of the tile.
  absl::StatusOr<std::string> Hashes(int level, uint64_t index, uint64_t count);

  // The leaf whose record begins at `position`. NOT_FOUND (without a file's
  // name) if there is none.
  absl::StatusOr<uint64_t> FindLeaf(log::Position position);

 private:
  // The root of the perfect tree over leaves [index << level, (index + 1) <<
  // level).
  absl::StatusOr<std::string> Node(int level, uint64_t index);
  absl::StatusOr<std::string> RangeRoot(uint64_t low, uint64_t high);
  absl::Status Consistency(uint64_t old_size, uint64_t low, uint64_t high,
                           bool old_is_whole, std::vector<std::string>* proof);
  // At least `count` hashes, or entries, from the beginning of the tile.
  absl::StatusOr<const std::string*> HashTile(int level, uint64_t index,
                                              uint64_t count);
  absl::StatusOr<const std::string*> EntryTile(uint64_t index, uint64_t count);
  // Whole, partial of `count`, or partial of more: whichever is there.
  absl::StatusOr<std::string> ReadTile(const std::string& whole, uint64_t count,
                                       size_t unit_bytes);
  const std::string* Keep(const std::string& path, std::string tile);

  base::FileSystem* const file_system_;
  const std::string directory_;
  const uint64_t size_;
  std::map<std::string, std::string> cache_;
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TILE_STORE_H_
