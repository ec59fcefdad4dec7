#include "archiver/evidence/tree_recovery.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/log_leaves.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tile_writer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::evidence {
namespace {

class Recovery {
 public:
  Recovery(base::FileSystem* file_system, const std::string& directory,
           const NoteKey& log_key, const log::LogReader& log,
           log::Position durable_end)
      : file_system_(file_system),
        directory_(directory),
        log_key_(log_key),
        log_(log),
        durable_end_(durable_end) {}

  absl::StatusOr<RecoveredTree> Run();

 private:
  // nullopt if there is no such file.
  absl::StatusOr<std::optional<SignedCheckpoint>> ReadSigned(
      absl::string_view file) const;
  // OK if the tiles give what was signed, and the last entries are those of the
  // last leaves. NOT_FOUND and DATA_LOSS if not.
  absl::Status CheckTiles(const Checkpoint& checkpoint) const;
  // Makes the tiles of the signed tree again.
  absl::Status Rebuild(const Checkpoint& checkpoint) const;
  // Calls `take` with the first `size` leaves that the log gives.
  template <typename Take>
  absl::Status ForLeaves(uint64_t size, const Take& take) const;
  // Leaves that are on disk, up to what was about to be signed.
  uint64_t LeavesOnDisk(uint64_t signed_size) const;

  base::FileSystem* const file_system_;
  const std::string& directory_;
  const NoteKey& log_key_;
  const log::LogReader& log_;
  const log::Position durable_end_;
};

absl::StatusOr<std::optional<SignedCheckpoint>> Recovery::ReadSigned(
    absl::string_view file) const {
  const std::string path = absl::StrCat(directory_, "/", file);
  const absl::StatusOr<std::string> text =
      ReadTreeFile(file_system_, path, limits::kMaxCheckpoint_bytes);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  absl::StatusOr<SignedCheckpoint> opened =
      SignedCheckpoint::Open(*text, log_key_);
  if (!opened.ok()) {
    return base::IntegrityError(
        absl::StrCat(path, " is not signed by this archive's log key: ",
                     opened.status().message()));
  }
  return *std::move(opened);
}

absl::Status Recovery::CheckTiles(const Checkpoint& checkpoint) const {
  TileTree tree(file_system_, directory_, checkpoint.size);
  ASSIGN_OR_RETURN(const std::string root, tree.Root());
  if (root != checkpoint.root) {
    return absl::DataLossError("its tiles have another root");
  }
  if (checkpoint.size == 0) return absl::OkStatus();
  const uint64_t last_tile = (checkpoint.size - 1) / kTileWidth;
  const uint64_t first = last_tile * kTileWidth;
  ASSIGN_OR_RETURN(const std::string hashes,
                   tree.Hashes(0, last_tile, checkpoint.size - first));
  std::string made;
  for (uint64_t i = first; i < checkpoint.size; ++i) {
    ASSIGN_OR_RETURN(const LogLeaf leaf, tree.Leaf(i));
    made += LeafHash(leaf.Data());
  }
  if (made != hashes) {
    return absl::DataLossError("its last entries are not its last leaves");
  }
  return absl::OkStatus();
}

template <typename Take>
absl::Status Recovery::ForLeaves(uint64_t size, const Take& take) const {
  std::optional<log::Position> last;
  for (uint64_t done = 0; done < size;) {
    ASSIGN_OR_RETURN(
        const LeafBatch batch,
        ReadLeaves(log_, last, durable_end_,
                   std::min<uint64_t>(size - done, limits::kTreeQueue_leaves)));
    for (const LogLeaf& leaf : batch.leaves) RETURN_IF_ERROR(take(leaf));
    done += batch.leaves.size();
    if (batch.leaves.empty()) break;
    last = batch.leaves.back().position;
  }
  return absl::OkStatus();
}

absl::Status Recovery::Rebuild(const Checkpoint& checkpoint) const {
  // Nothing is written over what is there before the log has proven right.
  GrowingTree grown;
  RETURN_IF_ERROR(ForLeaves(checkpoint.size, [&](const LogLeaf& leaf) {
    grown.Add(LeafHash(leaf.Data()));
    return absl::OkStatus();
  }));
  if (grown.size() != checkpoint.size || grown.Root() != checkpoint.root) {
    return base::IntegrityError(absl::StrCat(
        "the log has ", grown.size(), " of the ", checkpoint.size,
        " leaves of its last checkpoint, and they do not make the root that was"
        " signed: the log was changed or damaged, and ",
        directory_, " has lost its tiles; restore one of them"));
  }
  ASSIGN_OR_RETURN(TileWriter writer,
                   TileWriter::Open(file_system_, directory_, 0));
  RETURN_IF_ERROR(ForLeaves(checkpoint.size, [&](const LogLeaf& leaf) {
    writer.Add(leaf.Data());
    return writer.size() % limits::kTreeQueue_leaves == 0 ? writer.Write()
                                                          : absl::OkStatus();
  }));
  return writer.Write();
}

uint64_t Recovery::LeavesOnDisk(uint64_t signed_size) const {
  uint64_t tile = signed_size / kTileWidth;
  // No more than this is ever on disk and not signed.
  const uint64_t end = tile + limits::kTreeQueue_leaves / kTileWidth + 1;
  uint64_t leaves = signed_size;
  for (; tile <= end; ++tile) {
    const std::string whole =
        absl::StrCat(directory_, "/", EntriesPath(tile, kTileWidth));
    if (file_system_->OpenForRead(whole).ok()) {
      leaves = std::max(leaves, (tile + 1) * kTileWidth);
      continue;
    }
    const absl::StatusOr<std::vector<std::string>> names =
        file_system_->List(whole + ".p");
    if (!names.ok()) break;
    for (const std::string& name : *names) {
      uint64_t width = 0;
      if (absl::SimpleAtoi(name, &width) && width < kTileWidth) {
        leaves = std::max(leaves, tile * kTileWidth + width);
      }
    }
    break;
  }
  return leaves;
}

absl::StatusOr<RecoveredTree> Recovery::Run() {
  ASSIGN_OR_RETURN(const std::optional<SignedCheckpoint> latest,
                   ReadSigned(kCheckpointFile));
  ASSIGN_OR_RETURN(const std::optional<SignedCheckpoint> cosigned,
                   ReadSigned(kCosignedFile));
  // A witness may have seen what the other file does not say any more.
  const std::optional<SignedCheckpoint>& last =
      cosigned.has_value() &&
              (!latest.has_value() ||
               cosigned->checkpoint.size > latest->checkpoint.size)
          ? cosigned
          : latest;
  const std::optional<SignedCheckpoint>& other =
      &last == &latest ? cosigned : latest;
  Checkpoint signed_last;
  std::string note;
  if (last.has_value()) {
    signed_last = last->checkpoint;
    note = last->note.ToText();
    const absl::Status tiles = CheckTiles(signed_last);
    if (!tiles.ok()) {
      if (!absl::IsNotFound(tiles) && !absl::IsDataLoss(tiles)) return tiles;
      base::LogLine(base::Severity::kWarning,
                    "the log tree is made again from the log",
                    {{"leaves", absl::StrCat(signed_last.size)},
                     {"why", tiles.message()}});
      RETURN_IF_ERROR(Rebuild(signed_last));
      RETURN_IF_ERROR(CheckTiles(signed_last));
    }
  }
  if (other.has_value()) {
    TileTree tree(file_system_, directory_, other->checkpoint.size);
    ASSIGN_OR_RETURN(const std::string root, tree.Root());
    if (root != other->checkpoint.root) {
      return base::IntegrityError(absl::StrCat(
          "the log's key has signed two trees that do not go together: see ",
          directory_, "/", kCheckpointFile, " and ", kCosignedFile));
    }
  }

  std::optional<log::Position> last_position;
  if (signed_last.size > 0) {
    TileTree tree(file_system_, directory_, signed_last.size);
    ASSIGN_OR_RETURN(const LogLeaf leaf, tree.Leaf(signed_last.size - 1));
    RETURN_IF_ERROR(CheckHeld(log_, leaf));
    last_position = leaf.position;
  }
  const uint64_t on_disk = LeavesOnDisk(signed_last.size);
  if (on_disk > signed_last.size) {
    TileTree tree(file_system_, directory_, on_disk);
    // What is not signed and can't be read is made again in any case.
    const absl::StatusOr<LogLeaf> leaf = tree.Leaf(on_disk - 1);
    if (leaf.ok()) RETURN_IF_ERROR(CheckHeld(log_, *leaf));
  }
  ASSIGN_OR_RETURN(TileWriter writer, TileWriter::Open(file_system_, directory_,
                                                       signed_last.size));
  return RecoveredTree{.writer = std::move(writer),
                       .signed_last = std::move(signed_last),
                       .note = std::move(note),
                       .last_position = last_position};
}

}  // namespace

absl::StatusOr<RecoveredTree> RecoverTree(base::FileSystem* file_system,
                                          const std::string& directory,
                                          const NoteKey& log_key,
                                          const log::LogReader& log,
                                          log::Position durable_end) {
  return Recovery(file_system, directory, log_key, log, durable_end).Run();
}

}  // namespace diptych::evidence
