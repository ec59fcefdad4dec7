#include "archiver/evidence/tile_store.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/big_endian.h"
#include "archiver/evidence/merkle.h"
#include "archiver/log/record.h"

namespace diptych::evidence {
namespace {

using base::kSha256_bytes;

// Each entry has its length in two bytes in front.
constexpr size_t kEntry_bytes = 2 + kLeafData_bytes;
// A tile's hashes are the leaves of a tree of this height.
constexpr int kTileHeight = 8;

std::string IndexPath(uint64_t index, uint64_t width) {
  std::string path = absl::StrFormat("%03d", index % 1000);
  for (index /= 1000; index > 0; index /= 1000) {
    path = absl::StrCat(absl::StrFormat("x%03d/", index % 1000), path);
  }
  if (width < kTileWidth) absl::StrAppend(&path, ".p/", width);
  return path;
}

// The largest power of two below `size`. REQUIRES: size > 1.
uint64_t SplitOf(uint64_t size) { return std::bit_floor(size - 1); }

uint64_t ReadU64(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes.substr(0, 8)) {
    value = value << 8 | static_cast<uint8_t>(byte);
  }
  return value;
}

}  // namespace

std::string TilePath(int level, uint64_t index, uint64_t width) {
  return absl::StrCat("tile/", level, "/", IndexPath(index, width));
}

std::string EntriesPath(uint64_t index, uint64_t width) {
  return absl::StrCat("tile/entries/", IndexPath(index, width));
}

absl::StatusOr<std::string> ReadTreeFile(base::FileSystem* file_system,
                                         const std::string& path,
                                         size_t max_bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> file,
                   file_system->OpenForRead(path));
  std::string content;
  RETURN_IF_ERROR(file->Read(0, max_bytes + 1, &content));
  if (content.size() > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, " is larger than ", max_bytes, " bytes"));
  }
  return content;
}

std::string LogLeaf::Data() const {
  std::string data;
  AppendU64(&data, position);
  return data + digest;
}

TileTree::TileTree(base::FileSystem* file_system, std::string directory,
                   uint64_t size)
    : file_system_(file_system),
      directory_(std::move(directory)),
      size_(size) {}

absl::StatusOr<std::string> TileTree::Root() { return RangeRoot(0, size_); }

absl::StatusOr<std::vector<std::string>> TileTree::ProveInclusion(
    uint64_t index) {
  if (index >= size_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there is no leaf ", index, " in a tree of ", size_, " leaves"));
  }
  std::vector<std::string> proof;
  uint64_t low = 0;
  for (uint64_t high = size_; high - low > 1;) {
    const uint64_t middle = low + SplitOf(high - low);
    const bool is_left = index < middle;
    ASSIGN_OR_RETURN(std::string sibling, is_left ? RangeRoot(middle, high)
                                                  : RangeRoot(low, middle));
    proof.push_back(std::move(sibling));
    (is_left ? high : low) = middle;
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

absl::StatusOr<std::vector<std::string>> TileTree::ProveConsistency(
    uint64_t old_size) {
  if (old_size == 0 || old_size > size_) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no proof from a tree of ", old_size,
                     " leaves to one of ", size_));
  }
  std::vector<std::string> proof;
  RETURN_IF_ERROR(Consistency(old_size, 0, size_, true, &proof));
  return proof;
}

absl::Status TileTree::Consistency(uint64_t old_size, uint64_t low,
                                   uint64_t high, bool old_is_whole,
                                   std::vector<std::string>* proof) {
  // SUBPROOF of RFC 6962, section 2.1.2.
  if (old_size == high - low) {
    if (old_is_whole) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::string root, RangeRoot(low, high));
    proof->push_back(std::move(root));
    return absl::OkStatus();
  }
  const uint64_t split = SplitOf(high - low);
  std::string other;
  if (old_size <= split) {
    RETURN_IF_ERROR(
        Consistency(old_size, low, low + split, old_is_whole, proof));
    ASSIGN_OR_RETURN(other, RangeRoot(low + split, high));
  } else {
    RETURN_IF_ERROR(
        Consistency(old_size - split, low + split, high, false, proof));
    ASSIGN_OR_RETURN(other, RangeRoot(low, low + split));
  }
  proof->push_back(std::move(other));
  return absl::OkStatus();
}

absl::StatusOr<LogLeaf> TileTree::Leaf(uint64_t index) {
  if (index >= size_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there is no leaf ", index, " in a tree of ", size_, " leaves"));
  }
  const uint64_t first = index / kTileWidth * kTileWidth;
  ASSIGN_OR_RETURN(
      const std::string* const tile,
      EntryTile(index / kTileWidth, std::min(kTileWidth, size_ - first)));
  const absl::string_view entry = absl::string_view(*tile).substr(
      (index - first) * kEntry_bytes + 2, kLeafData_bytes);
  return LogLeaf{.position = ReadU64(entry),
                 .digest = std::string(entry.substr(8))};
}

absl::StatusOr<std::string> TileTree::Hashes(int level, uint64_t index,
                                             uint64_t count) {
  if (count == 0) return "";
  ASSIGN_OR_RETURN(const std::string* const tile,
                   HashTile(level, index, count));
  return tile->substr(0, count * kSha256_bytes);
}

absl::StatusOr<uint64_t> TileTree::FindLeaf(log::Position position) {
  // Positions grow from leaf to leaf.
  uint64_t low = 0;
  for (uint64_t high = size_; low < high;) {
    const uint64_t middle = low + (high - low) / 2;
    ASSIGN_OR_RETURN(const LogLeaf leaf, Leaf(middle));
    if (leaf.position == position) return middle;
    if (leaf.position < position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return absl::NotFoundError(absl::StrCat(
      "no leaf of the log tree stands for a record at position ", position));
}

absl::StatusOr<std::string> TileTree::RangeRoot(uint64_t low, uint64_t high) {
  if (low == high) return EmptyRoot();
  const uint64_t count = high - low;
  if (std::has_single_bit(count)) {
    // Splits of RFC 6962 leave perfect trees where their size divides `low`.
    const int level = std::countr_zero(count);
    return Node(level, low >> level);
  }
  const uint64_t split = SplitOf(count);
  ASSIGN_OR_RETURN(const std::string left, RangeRoot(low, low + split));
  ASSIGN_OR_RETURN(const std::string right, RangeRoot(low + split, high));
  return NodeHash(left, right);
}

absl::StatusOr<std::string> TileTree::Node(int level, uint64_t index) {
  const int tile_level = level / kTileHeight;
  const uint64_t count = uint64_t{1} << (level % kTileHeight);
  // In hashes of the tile's level.
  const uint64_t first = index * count;
  const uint64_t tile_index = first / kTileWidth;
  const uint64_t there =
      (size_ >> (kTileHeight * tile_level)) - tile_index * kTileWidth;
  ASSIGN_OR_RETURN(
      const std::string* const tile,
      HashTile(tile_level, tile_index, std::min(kTileWidth, there)));
  std::vector<std::string> hashes;
  for (uint64_t i = 0; i < count; ++i) {
    hashes.push_back(
        tile->substr((first % kTileWidth + i) * kSha256_bytes, kSha256_bytes));
  }
  return RootOf(hashes);
}

absl::StatusOr<const std::string*> TileTree::HashTile(int level, uint64_t index,
                                                      uint64_t count) {
  const std::string path = TilePath(level, index, kTileWidth);
  const auto kept = cache_.find(path);
  if (kept != cache_.end()) return &kept->second;
  ASSIGN_OR_RETURN(std::string tile, ReadTile(path, count, kSha256_bytes));
  return Keep(path, std::move(tile));
}

absl::StatusOr<const std::string*> TileTree::EntryTile(uint64_t index,
                                                       uint64_t count) {
  const std::string path = EntriesPath(index, kTileWidth);
  const auto kept = cache_.find(path);
  if (kept != cache_.end()) return &kept->second;
  ASSIGN_OR_RETURN(std::string tile, ReadTile(path, count, kEntry_bytes));
  for (size_t i = 0; i < tile.size(); i += kEntry_bytes) {
    if (tile[i] != 0 || tile[i + 1] != static_cast<char>(kLeafData_bytes)) {
      return absl::DataLossError(absl::StrCat(directory_, "/", path, ": entry ",
                                              i / kEntry_bytes,
                                              " is not of this log"));
    }
  }
  return Keep(path, std::move(tile));
}

absl::StatusOr<std::string> TileTree::ReadTile(const std::string& whole,
                                               uint64_t count,
                                               size_t unit_bytes) {
  const std::string stem = absl::StrCat(directory_, "/", whole);
  const auto read = [&](const std::string& path, uint64_t width) {
    absl::StatusOr<std::string> tile =
        ReadTreeFile(file_system_, path, kTileWidth * unit_bytes);
    if (tile.ok() && tile->size() != width * unit_bytes) {
      tile = absl::DataLossError(absl::StrCat(
          path, " has ", tile->size(), " bytes, not ", width * unit_bytes));
    }
    return tile;
  };
  if (count < kTileWidth) {
    absl::StatusOr<std::string> partial =
        read(absl::StrCat(stem, ".p/", count), count);
    if (!absl::IsNotFound(partial.status())) return partial;
  }
  absl::StatusOr<std::string> tile = read(stem, kTileWidth);
  if (!absl::IsNotFound(tile.status()) || count == kTileWidth) return tile;
  // A partial tile of a tree that was published later.
  const absl::StatusOr<std::vector<std::string>> names =
      file_system_->List(stem + ".p");
  if (!names.ok()) return tile;
  std::optional<uint64_t> wider;
  for (const std::string& name : *names) {
    uint64_t width = 0;
    if (absl::SimpleAtoi(name, &width) && absl::StrCat(width) == name &&
        width > count && width < kTileWidth &&
        width < wider.value_or(kTileWidth)) {
      wider = width;
    }
  }
  if (!wider.has_value()) return tile;
  return read(absl::StrCat(stem, ".p/", *wider), *wider);
}

const std::string* TileTree::Keep(const std::string& path, std::string tile) {
  if (cache_.size() >= limits::kTileCache_tiles) cache_.clear();
  return &(cache_[path] = std::move(tile));
}

}  // namespace diptych::evidence
