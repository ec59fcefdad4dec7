#include "archiver/evidence/tile_writer.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/tile_store.h"

namespace diptych::evidence {
namespace {

using base::kSha256_bytes;

constexpr int kTileHeight = 8;
constexpr int kTileLevels = 8;
// Folders that are remembered as durable.
constexpr size_t kKnownFolders = 64;

std::string Parent(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

// The root of the tree over a whole tile's hashes.
std::string TileRoot(absl::string_view tile) {
  GrowingTree tree;
  for (size_t i = 0; i < tile.size(); i += kSha256_bytes) {
    tree.Add(std::string(tile.substr(i, kSha256_bytes)));
  }
  return tree.Root();
}

}  // namespace

absl::StatusOr<TileWriter> TileWriter::Open(base::FileSystem* file_system,
                                            const std::string& directory,
                                            uint64_t size) {
  TileWriter writer(file_system, directory);
  writer.size_ = writer.written_size_ = size;
  TileTree tree(file_system, directory, size);
  for (uint64_t i = size / kTileWidth * kTileWidth; i < size; ++i) {
    ASSIGN_OR_RETURN(const LogLeaf leaf, tree.Leaf(i));
    writer.AddEntry(leaf.Data());
  }
  for (int level = 0; level < kTileLevels; ++level) {
    const uint64_t there = size >> (kTileHeight * level);
    if (there == 0) break;
    ASSIGN_OR_RETURN(std::string tile, tree.Hashes(level, there / kTileWidth,
                                                   there % kTileWidth));
    writer.edge_.push_back(std::move(tile));
    if (there < kTileWidth) continue;
    // Whoever wrote it may not have come to removing its partial ones.
    const uint64_t whole = there / kTileWidth - 1;
    writer.completed_.push_back(TilePath(level, whole, kTileWidth));
    if (level == 0) {
      writer.completed_.push_back(EntriesPath(whole, kTileWidth));
    }
  }
  return writer;
}

void TileWriter::Add(absl::string_view leaf_data) {
  const uint64_t tile = size_ / kTileWidth;
  AddEntry(leaf_data);
  ++size_;
  if (size_ % kTileWidth == 0) {
    whole_[EntriesPath(tile, kTileWidth)] = std::exchange(entries_, "");
  }
  AddHash(0, LeafHash(leaf_data));
}

void TileWriter::AddEntry(absl::string_view leaf_data) {
  entries_.push_back(static_cast<char>(leaf_data.size() >> 8));
  entries_.push_back(static_cast<char>(leaf_data.size()));
  entries_.append(leaf_data.data(), leaf_data.size());
}

void TileWriter::AddHash(int level, const std::string& hash) {
  if (edge_.size() == static_cast<size_t>(level)) edge_.emplace_back();
  std::string& edge = edge_[static_cast<size_t>(level)];
  edge += hash;
  if (edge.size() < kTileWidth * kSha256_bytes) return;
  const uint64_t index = (size_ >> (kTileHeight * (level + 1))) - 1;
  const std::string tile = std::exchange(edge, "");
  whole_[TilePath(level, index, kTileWidth)] = tile;
  AddHash(level + 1, TileRoot(tile));
}

absl::Status TileWriter::Write() {
  if (written_size_ == size_) return absl::OkStatus();
  std::set<std::string> folders;
  for (const auto& [path, tile] : whole_) {
    RETURN_IF_ERROR(WriteFile(path, tile, &folders));
  }
  if (!entries_.empty()) {
    RETURN_IF_ERROR(
        WriteFile(EntriesPath(size_ / kTileWidth, size_ % kTileWidth), entries_,
                  &folders));
  }
  for (int level = 0; level < static_cast<int>(edge_.size()); ++level) {
    const std::string& edge = edge_[static_cast<size_t>(level)];
    const uint64_t there = size_ >> (kTileHeight * level);
    const uint64_t before = written_size_ >> (kTileHeight * level);
    // An edge that is as it was is on disk.
    if (edge.empty() || there == before) continue;
    RETURN_IF_ERROR(
        WriteFile(TilePath(level, there / kTileWidth, there % kTileWidth), edge,
                  &folders));
  }
  for (const std::string& folder : folders) {
    RETURN_IF_ERROR(file_system_->SyncDirectory(folder));
  }
  if (known_folders_.size() > kKnownFolders) known_folders_.clear();
  known_folders_.merge(folders);
  for (const auto& [path, tile] : whole_) completed_.push_back(path);
  whole_.clear();
  written_size_ = size_;
  return absl::OkStatus();
}

absl::Status TileWriter::WriteFile(const std::string& path,
                                   const std::string& content,
                                   std::set<std::string>* folders) {
  const std::string full = absl::StrCat(directory_, "/", path);
  std::string folder = Parent(full);
  if (folders->insert(folder).second && !known_folders_.contains(folder)) {
    RETURN_IF_ERROR(file_system_->CreateDirectory(folder));
    // Any of those on the way may be new as well.
    while (folder != directory_) {
      folder = Parent(folder);
      folders->insert(folder);
    }
  }
  return base::ReplaceFile(file_system_, full, content);
}

void TileWriter::RemovePartials() {
  for (const std::string& path : completed_) {
    const std::string folder = absl::StrCat(directory_, "/", path, ".p");
    const absl::StatusOr<std::vector<std::string>> names =
        file_system_->List(folder);
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      file_system_->Remove(absl::StrCat(folder, "/", name)).IgnoreError();
    }
    file_system_->Remove(folder).IgnoreError();
  }
  completed_.clear();
}

}  // namespace diptych::evidence
