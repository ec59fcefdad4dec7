#include "tools/diptych/check/tree_files.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/log/record.h"

namespace diptych::check {
namespace {

// tile/KIND/xNNN/.../NNN.p/W: seven groups of digits hold any index.
constexpr int kMaxDepth = 12;
// A tree of 2^64 leaves has eight levels of tiles.
constexpr uint64_t kMaxLevel = 7;
// Beyond these it is no tree's folder any more.
constexpr size_t kMaxStrangers = 100;

bool IsDigits(absl::string_view text, size_t count) {
  return text.size() == count &&
         std::all_of(text.begin(), text.end(), [](char digit) {
           return absl::ascii_isdigit(static_cast<unsigned char>(digit));
         });
}

// A decimal number without leading zeros.
std::optional<uint64_t> Number(absl::string_view text) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || absl::StrCat(number) != text) {
    return std::nullopt;
  }
  return number;
}

// "x001", "x234", "067" are tile 1234067.
std::optional<uint64_t> TileIndex(
    const std::vector<absl::string_view>& groups) {
  uint64_t index = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    absl::string_view group = groups[i];
    if (i + 1 < groups.size() && !absl::ConsumePrefix(&group, "x")) {
      return std::nullopt;
    }
    uint64_t part = 0;
    if (!IsDigits(group, 3) || !absl::SimpleAtoi(group, &part) ||
        index > UINT64_MAX / 1000 - 1) {
      return std::nullopt;
    }
    index = index * 1000 + part;
  }
  return index;
}

std::optional<TileName> ParseTile(absl::string_view path) {
  std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  if (parts.size() < 3 || parts[0] != "tile") return std::nullopt;
  TileName name;
  name.kind = std::string(parts[1]);
  if (name.kind != kEntriesKind) {
    const std::optional<uint64_t> level = Number(name.kind);
    if (!level.has_value() || *level > kMaxLevel) return std::nullopt;
  }
  parts.erase(parts.begin(), parts.begin() + 2);
  if (parts.size() >= 2 && absl::EndsWith(parts[parts.size() - 2], ".p")) {
    const std::optional<uint64_t> width = Number(parts.back());
    if (!width.has_value() || *width == 0 || *width >= kTile_hashes) {
      return std::nullopt;
    }
    name.width = static_cast<size_t>(*width);
    parts.pop_back();
    parts.back().remove_suffix(2);
  }
  const std::optional<uint64_t> index = TileIndex(parts);
  if (!index.has_value()) return std::nullopt;
  name.index = *index;
  if (name.Path() != path) return std::nullopt;
  return name;
}

}  // namespace

std::string TileName::Path() const {
  if (kind == kEntriesKind) return evidence::EntriesPath(index, width);
  int level = 0;
  if (!absl::SimpleAtoi(kind, &level)) return "";
  return evidence::TilePath(level, index, width);
}

std::string EncodeEntry(log::Position position, absl::string_view digest) {
  const std::string data = evidence::LogLeafData(position, digest);
  std::string entry = {static_cast<char>(data.size() >> 8),
                       static_cast<char>(data.size())};
  return entry + data;
}

std::vector<std::optional<Entry>> DecodeEntries(absl::string_view bytes) {
  std::vector<std::optional<Entry>> entries;
  for (size_t at = 0; at + kEntry_bytes <= bytes.size(); at += kEntry_bytes) {
    Entry entry;
    for (size_t i = 0; i < 8; ++i) {
      entry.position =
          entry.position << 8 | static_cast<uint8_t>(bytes[at + 2 + i]);
    }
    entry.digest = std::string(bytes.substr(at + 10, base::kSha256_bytes));
    // Every entry has the same length, so that a false one hides no other.
    const bool whole =
        static_cast<uint8_t>(bytes[at]) == 0 &&
        static_cast<uint8_t>(bytes[at + 1]) == evidence::kLeafData_bytes;
    entries.push_back(whole ? std::optional<Entry>(entry) : std::nullopt);
  }
  return entries;
}

TreeFiles::TreeFiles(base::FileSystem* file_system, std::string directory)
    : file_system_(file_system), directory_(std::move(directory)) {}

std::string TreeFiles::Place(absl::string_view path) const {
  return absl::StrCat(directory_, "/", path);
}

absl::StatusOr<std::string> TreeFiles::Read(absl::string_view path,
                                            size_t max_bytes) const {
  ASSIGN_OR_RETURN(const auto file, file_system_->OpenForRead(Place(path)));
  std::string content;
  RETURN_IF_ERROR(file->Read(0, max_bytes + 1, &content));
  if (content.size() > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(Place(path), " is larger than ", max_bytes, " bytes"));
  }
  return content;
}

absl::Status TreeFiles::List() { return Walk("", 0); }

absl::Status TreeFiles::Walk(const std::string& path, int depth) {
  absl::StatusOr<std::vector<std::string>> names =
      file_system_->List(path.empty() ? directory_ : Place(path));
  if (!names.ok()) {
    // A folder that goes while it is looked at held nothing that counts.
    if (depth > 0 && absl::IsNotFound(names.status())) return absl::OkStatus();
    return names.status();
  }
  for (const std::string& name : *names) {
    const std::string below =
        path.empty() ? name : absl::StrCat(path, "/", name);
    const bool is_tile_folder =
        depth == 0 ? name == "tile"
                   : absl::StartsWith(below, "tile/") &&
                         (depth == 1 || absl::StartsWith(name, "x") ||
                          absl::EndsWith(name, ".p"));
    if (is_tile_folder || (depth == 0 && name == "timestamps")) {
      const absl::Status walked = depth + 1 < kMaxDepth
                                      ? Walk(below, depth + 1)
                                      : absl::InternalError("too deep");
      if (walked.ok()) continue;
      if (strangers_.size() < kMaxStrangers) strangers_.push_back(below);
      continue;
    }
    Take(below);
  }
  return absl::OkStatus();
}

void TreeFiles::Take(const std::string& path) {
  if (path == "checkpoint" || path == "cosigned") return;
  if (absl::StartsWith(path, "timestamps/")) {
    if (timestamps_.size() < 2 * limits::kMaxTimestamps + kMaxStrangers) {
      timestamps_.push_back(path.substr(path.find('/') + 1));
    }
    return;
  }
  const std::optional<TileName> tile = ParseTile(path);
  if (!tile.has_value()) {
    if (strangers_.size() < kMaxStrangers) strangers_.push_back(path);
    return;
  }
  uint64_t level = 0;
  if (tile->kind != kEntriesKind) level = *Number(tile->kind);
  const uint64_t hashes = tile->index * kTile_hashes + tile->width;
  // The shift loses bits of a tree larger than any can be.
  const uint64_t end =
      hashes > (UINT64_MAX >> (8 * level)) ? UINT64_MAX : hashes << (8 * level);
  if (end > last_leaf_end_) {
    last_leaf_end_ = end;
    last_leaf_path_ = path;
  }
  if (tile->width == kTile_hashes ||
      partial_count_ >= limits::kMaxPartialTiles) {
    return;
  }
  if (partial_[{tile->kind, tile->index}].insert(tile->width).second) {
    ++partial_count_;
  }
}

std::vector<size_t> TreeFiles::PartialWidths(const std::string& kind,
                                             uint64_t index) const {
  const auto found = partial_.find({kind, index});
  if (found == partial_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

}  // namespace diptych::check
