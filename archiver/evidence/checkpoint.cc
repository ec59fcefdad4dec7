#include "archiver/evidence/checkpoint.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/note.h"

namespace diptych::evidence {

std::string Checkpoint::ToText() const {
  return absl::StrCat(origin, "\n", size, "\n", absl::Base64Escape(root), "\n");
}

absl::StatusOr<Checkpoint> Checkpoint::Parse(absl::string_view text) {
  const absl::Status wrong = absl::InvalidArgumentError(
      "a checkpoint is the log's origin, its size and its root, a line each");
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  // The last one ends with a newline, so that nothing is behind it.
  if (lines.size() < 4 || !lines.back().empty()) return wrong;
  for (size_t i = 0; i + 1 < lines.size(); ++i) {
    if (lines[i].empty()) return wrong;
  }
  Checkpoint checkpoint;
  checkpoint.origin = std::string(lines[0]);
  if (!absl::SimpleAtoi(lines[1], &checkpoint.size) ||
      absl::StrCat(checkpoint.size) != lines[1]) {
    return wrong;
  }
  absl::StatusOr<std::string> root = StrictBase64(lines[2]);
  if (!root.ok() || root->size() != base::kSha256_bytes) return wrong;
  checkpoint.root = *std::move(root);
  return checkpoint;
}

absl::StatusOr<SignedCheckpoint> SignedCheckpoint::Parse(
    absl::string_view note) {
  SignedCheckpoint parsed;
  ASSIGN_OR_RETURN(parsed.note, SignedNote::Parse(note));
  ASSIGN_OR_RETURN(parsed.checkpoint, Checkpoint::Parse(parsed.note.text));
  return parsed;
}

absl::StatusOr<SignedCheckpoint> SignedCheckpoint::Open(
    absl::string_view note, const NoteKey& log_key) {
  ASSIGN_OR_RETURN(SignedCheckpoint parsed, Parse(note));
  RETURN_IF_ERROR(VerifyNote(parsed.note, log_key).status());
  if (parsed.checkpoint.origin != log_key.name) {
    return absl::DataLossError(
        absl::StrCat("the checkpoint is another log's than ", log_key.name));
  }
  return parsed;
}

}  // namespace diptych::evidence
