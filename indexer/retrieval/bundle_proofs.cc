#include "indexer/retrieval/bundle_proofs.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tlog_proof.h"
#include "archiver/log/record.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::indexer {
namespace {

// A checkpoint's note, and how many leaves it stands for.
struct Note {
  std::string text;
  uint64_t size = 0;
};

absl::StatusOr<Note> ReadNote(const LogTree& tree, absl::string_view name) {
  const std::string path = absl::StrCat(tree.directory, "/", name);
  Note note;
  ASSIGN_OR_RETURN(note.text,
                   evidence::ReadTreeFile(tree.file_system, path,
                                          limits::kMaxCheckpoint_bytes));
  const absl::StatusOr<evidence::SignedCheckpoint> parsed =
      evidence::SignedCheckpoint::Parse(note.text);
  if (!parsed.ok()) {
    return base::IntegrityError(
        absl::StrCat(path, " is no checkpoint: ", parsed.status().message()));
  }
  note.size = parsed->checkpoint.size;
  return note;
}

absl::StatusOr<bool> Covers(const LogTree& tree, const Note& note,
                            log::Position position) {
  if (note.size == 0) return false;
  evidence::TileTree tiles(tree.file_system, tree.directory, note.size);
  ASSIGN_OR_RETURN(const evidence::LogLeaf last, tiles.Leaf(note.size - 1));
  return last.position >= position;
}

absl::Status NotProvenYet() {
  api::v1::ErrorDetail detail;
  detail.set_reason("NOT_PROVEN_YET");
  detail.set_retryable(true);
  return base::MakeError(
      absl::StatusCode::kUnavailable,
      "the transparency log has no checkpoint yet that proves this export: is "
      "the archiver running? Try again",
      detail);
}

}  // namespace

BundleProofs::BundleProofs(const LogTree& tree, std::string checkpoint,
                           uint64_t size)
    : tree_(tree),
      checkpoint_(std::move(checkpoint)),
      tiles_(std::make_unique<evidence::TileTree>(tree.file_system,
                                                  tree.directory, size)) {}

absl::StatusOr<BundleProofs> BundleProofs::Await(const LogTree& tree,
                                                 log::Position position,
                                                 const GoOn& go_on) {
  const absl::Time until = absl::Now() + limits::kCheckpointWait;
  while (true) {
    RETURN_IF_ERROR(go_on());
    const absl::StatusOr<Note> latest =
        ReadNote(tree, evidence::kCheckpointFile);
    if (latest.ok()) {
      ASSIGN_OR_RETURN(const bool covers, Covers(tree, *latest, position));
      if (covers) break;
    } else if (latest.status().code() != absl::StatusCode::kNotFound) {
      return latest.status();
    }
    if (absl::Now() >= until) return NotProvenYet();
    absl::SleepFor(limits::kBundlePoll);
  }
  const absl::Time cosigned_until = absl::Now() + limits::kCosignatureWait;
  while (tree.witnessed) {
    RETURN_IF_ERROR(go_on());
    absl::StatusOr<Note> cosigned = ReadNote(tree, evidence::kCosignedFile);
    if (cosigned.ok()) {
      ASSIGN_OR_RETURN(const bool covers, Covers(tree, *cosigned, position));
      if (covers) {
        return BundleProofs(tree, std::move(cosigned->text), cosigned->size);
      }
    }
    // Witnesses that have never signed are not waited for.
    if (cosigned.status().code() == absl::StatusCode::kNotFound) break;
    if (absl::Now() >= cosigned_until) break;
    absl::SleepFor(limits::kBundlePoll);
  }
  ASSIGN_OR_RETURN(Note latest, ReadNote(tree, evidence::kCheckpointFile));
  return BundleProofs(tree, std::move(latest.text), latest.size);
}

absl::StatusOr<std::string> BundleProofs::Prove(log::Position position,
                                                absl::string_view digest) {
  const absl::StatusOr<uint64_t> index = tiles_->FindLeaf(position);
  if (index.status().code() == absl::StatusCode::kNotFound) {
    return base::IntegrityError(
        absl::StrCat("the transparency log has no leaf for log position ",
                     position, ": ", index.status().message()));
  }
  RETURN_IF_ERROR(index.status());
  ASSIGN_OR_RETURN(const evidence::LogLeaf leaf, tiles_->Leaf(*index));
  if (leaf.position != position || leaf.digest != digest) {
    return base::IntegrityError(absl::StrCat(
        "the record at log position ", position, " is not the one that leaf ",
        *index, " of the transparency log stands for"));
  }
  evidence::TlogProof proof;
  proof.index = *index;
  ASSIGN_OR_RETURN(proof.hashes, tiles_->ProveInclusion(*index));
  proof.checkpoint = checkpoint_;
  last_leaf_ = std::max(last_leaf_, *index);
  return proof.ToText();
}

absl::StatusOr<Anchor> BundleProofs::MakeAnchor(std::string checkpoint,
                                                uint64_t size,
                                                std::string timestamp) {
  Anchor anchor;
  anchor.checkpoint = std::move(checkpoint);
  anchor.timestamp = std::move(timestamp);
  ASSIGN_OR_RETURN(anchor.consistency, tiles_->ProveConsistency(size));
  return anchor;
}

absl::StatusOr<std::vector<Anchor>> BundleProofs::Anchors(uint64_t leaf) {
  std::vector<Anchor> anchors;
  const absl::StatusOr<Note> cosigned =
      ReadNote(tree_, evidence::kCosignedFile);
  if (cosigned.ok() && cosigned->text != checkpoint_ && cosigned->size > leaf &&
      cosigned->size <= tiles_->size()) {
    ASSIGN_OR_RETURN(Anchor anchor,
                     MakeAnchor(cosigned->text, cosigned->size, ""));
    anchors.push_back(std::move(anchor));
  }
  const std::string folder =
      absl::StrCat(tree_.directory, "/", evidence::kTimestampFolder);
  const absl::StatusOr<std::vector<std::string>> names =
      tree_.file_system->List(folder);
  std::vector<uint64_t> sizes;
  if (names.ok()) {
    for (absl::string_view name : *names) {
      uint64_t size = 0;
      if (absl::ConsumeSuffix(&name, ".tsr") && absl::SimpleAtoi(name, &size) &&
          size > leaf && size <= tiles_->size()) {
        sizes.push_back(size);
      }
    }
  }
  std::sort(sizes.begin(), sizes.end());
  // The earliest says most; the latest may be of another authority.
  std::vector<uint64_t> chosen;
  if (!sizes.empty()) chosen.push_back(sizes.front());
  if (sizes.size() > 1) chosen.push_back(sizes.back());
  for (const uint64_t size : chosen) {
    if (anchors.size() >= limits::kMaxBundleAnchors) break;
    // One that is thinned out meanwhile is none.
    const absl::StatusOr<Note> note = ReadNote(
        tree_,
        absl::StrCat(evidence::kTimestampFolder, "/", size, ".checkpoint"));
    const absl::StatusOr<std::string> timestamp = evidence::ReadTreeFile(
        tree_.file_system, absl::StrCat(folder, "/", size, ".tsr"),
        limits::kMaxTimestamp_bytes);
    if (!note.ok() || !timestamp.ok() || note->size != size) continue;
    // The cosigned one itself, stamped.
    if (!anchors.empty() && anchors.front().timestamp.empty() &&
        anchors.front().checkpoint == note->text) {
      anchors.front().timestamp = *timestamp;
      continue;
    }
    ASSIGN_OR_RETURN(Anchor anchor, MakeAnchor(note->text, size, *timestamp));
    anchors.push_back(std::move(anchor));
  }
  return anchors;
}

}  // namespace diptych::indexer
