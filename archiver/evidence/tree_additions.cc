#include "archiver/evidence/tree_additions.h"

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
#include "absl/strings/strip.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/timestamp.h"

namespace diptych::evidence {
namespace {

constexpr size_t kPending = 64;
constexpr absl::string_view kStampSuffix = ".tsr";

}  // namespace

TreeAdditions::TreeAdditions(Options options, base::Clock* clock)
    : options_(std::move(options)), clock_(clock) {}

absl::StatusOr<SignedCheckpoint> TreeAdditions::OpenOwn(
    absl::string_view note) const {
  absl::StatusOr<SignedCheckpoint> opened =
      SignedCheckpoint::Open(note, options_.log_key);
  if (absl::IsNotFound(opened.status())) {
    return absl::InvalidArgumentError(
        "the checkpoint is not signed by this archive's log");
  }
  RETURN_IF_ERROR(opened.status());
  ASSIGN_OR_RETURN(
      const std::string latest,
      ReadTreeFile(options_.file_system,
                   absl::StrCat(options_.directory, "/", kCheckpointFile),
                   limits::kMaxCheckpoint_bytes));
  ASSIGN_OR_RETURN(const SignedCheckpoint own,
                   SignedCheckpoint::Open(latest, options_.log_key));
  const Checkpoint& checkpoint = opened->checkpoint;
  if (checkpoint.size > own.checkpoint.size) {
    base::LogLine(base::Severity::kError,
                  "a checkpoint with the log's signature is ahead of the log",
                  {{"size", absl::StrCat(checkpoint.size)},
                   {"log_size", absl::StrCat(own.checkpoint.size)}});
    return absl::FailedPreconditionError(
        absl::StrCat("the checkpoint has ", checkpoint.size,
                     " leaves and this log only ", own.checkpoint.size));
  }
  TileTree tree(options_.file_system, options_.directory, checkpoint.size);
  ASSIGN_OR_RETURN(const std::string root, tree.Root());
  if (root != checkpoint.root) {
    base::LogLine(base::Severity::kError,
                  "the log's key has signed what is not this log's tree",
                  {{"size", absl::StrCat(checkpoint.size)}});
    return base::IntegrityError(
        absl::StrCat("the log's key has signed a tree of ", checkpoint.size,
                     " leaves that is not this log's"));
  }
  return opened;
}

absl::StatusOr<TreeAdditions::Lines> TreeAdditions::LinesOf(
    const SignedCheckpoint& checkpoint) const {
  Lines lines;
  for (size_t i = 0; i < options_.witnesses.size(); ++i) {
    const NoteKey& witness = options_.witnesses[i];
    const absl::Status verified = VerifyNote(checkpoint.note, witness).status();
    if (absl::IsNotFound(verified)) continue;
    RETURN_IF_ERROR(verified);
    for (const NoteSignature& line : checkpoint.note.signatures) {
      if (line.name == witness.name && line.key_id == witness.Id()) {
        lines[i] = line;
      }
    }
  }
  return lines;
}

absl::Status TreeAdditions::AddCosignature(absl::string_view note) {
  ASSIGN_OR_RETURN(const SignedCheckpoint added, OpenOwn(note));
  ASSIGN_OR_RETURN(Lines lines, LinesOf(added));
  if (lines.empty()) {
    return absl::InvalidArgumentError(
        "the checkpoint has no cosignature of a witness that this archive "
        "knows: add its key with diptych keys add-witness");
  }
  const uint64_t size = added.checkpoint.size;
  const std::string path = absl::StrCat(options_.directory, "/", kCosignedFile);

  base::MutexLock lock(&mutex_);
  Lines& gathered = pending_[size];
  // A later cosignature of the same witness says nothing more.
  gathered.insert(lines.begin(), lines.end());
  const Lines all = gathered;
  if (pending_.size() > kPending) pending_.erase(pending_.begin());

  const absl::StatusOr<std::string> text =
      ReadTreeFile(options_.file_system, path, limits::kMaxCheckpoint_bytes);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  if (text.ok()) {
    ASSIGN_OR_RETURN(const SignedCheckpoint kept,
                     SignedCheckpoint::Open(*text, options_.log_key));
    ASSIGN_OR_RETURN(const Lines kept_lines, LinesOf(kept));
    // The one with more lines stays, but not for ever: a witness that is gone
    // must not stand in the way of those that are there.
    const bool better = std::pair(all.size(), size) >
                        std::pair(kept_lines.size(), kept.checkpoint.size);
    const bool instead =
        size > kept.checkpoint.size &&
        clock_->Monotonic() - kept_since_ > limits::kWitnessesWait;
    if (!better && !instead) return absl::OkStatus();
  }
  SignedNote cosigned = {.text = added.note.text, .signatures = {}};
  for (const NoteSignature& line : added.note.signatures) {
    if (line.name == options_.log_key.name &&
        line.key_id == options_.log_key.Id()) {
      cosigned.signatures.push_back(line);
      break;
    }
  }
  for (const auto& [witness, line] : all) cosigned.signatures.push_back(line);
  RETURN_IF_ERROR(
      base::ReplaceFile(options_.file_system, path, cosigned.ToText()));
  kept_since_ = clock_->Monotonic();
  return options_.file_system->SyncDirectory(options_.directory);
}

absl::Status TreeAdditions::AddTimestamp(absl::string_view checkpoint,
                                         absl::string_view response) {
  ASSIGN_OR_RETURN(const SignedCheckpoint stamped, OpenOwn(checkpoint));
  ASSIGN_OR_RETURN(const Timestamp timestamp, ParseTimestamp(response));
  if (timestamp.imprint != base::Sha256(checkpoint)) {
    return absl::InvalidArgumentError(
        "the time stamp is not over this checkpoint");
  }
  const uint64_t size = stamped.checkpoint.size;
  base::FileSystem& files = *options_.file_system;
  const std::string folder =
      absl::StrCat(options_.directory, "/", kTimestampFolder);
  const std::string stamp_path =
      absl::StrCat(options_.directory, "/", TimestampPath(size));

  base::MutexLock lock(&mutex_);
  if (files.OpenForRead(stamp_path).ok()) return absl::OkStatus();
  RETURN_IF_ERROR(files.CreateDirectory(folder));
  RETURN_IF_ERROR(files.SyncDirectory(options_.directory));
  // The stamp last: without it, the other counts for nothing.
  RETURN_IF_ERROR(base::ReplaceFile(
      &files,
      absl::StrCat(options_.directory, "/", TimestampedCheckpointPath(size)),
      checkpoint));
  RETURN_IF_ERROR(base::ReplaceFile(&files, stamp_path, response));
  RETURN_IF_ERROR(files.SyncDirectory(folder));
  return Thin(folder);
}

absl::Status TreeAdditions::Thin(const std::string& folder) const {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sizes,
                   ListTimestamps(options_.file_system, options_.directory));
  if (sizes.size() <= limits::kMaxTimestamps) return absl::OkStatus();
  for (size_t i = 1; i < sizes.size() / 2; i += 2) {
    // As it came: the stamp goes first.
    for (const std::string& path :
         {TimestampPath(sizes[i]), TimestampedCheckpointPath(sizes[i])}) {
      RETURN_IF_ERROR(options_.file_system->Remove(
          absl::StrCat(options_.directory, "/", path)));
    }
  }
  return options_.file_system->SyncDirectory(folder);
}

absl::StatusOr<std::vector<uint64_t>> ListTimestamps(
    base::FileSystem* file_system, const std::string& directory) {
  const absl::StatusOr<std::vector<std::string>> names =
      file_system->List(absl::StrCat(directory, "/", kTimestampFolder));
  if (absl::IsNotFound(names.status())) return std::vector<uint64_t>();
  RETURN_IF_ERROR(names.status());
  std::vector<uint64_t> sizes;
  for (absl::string_view name : *names) {
    uint64_t size = 0;
    if (absl::ConsumeSuffix(&name, kStampSuffix) &&
        absl::SimpleAtoi(name, &size)) {
      sizes.push_back(size);
    }
  }
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

std::string TimestampedCheckpointPath(uint64_t size) {
  return absl::StrCat(kTimestampFolder, "/", size, ".checkpoint");
}

std::string TimestampPath(uint64_t size) {
  return absl::StrCat(kTimestampFolder, "/", size, kStampSuffix);
}

}  // namespace diptych::evidence
