#include "tools/diptych/witness/witness.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tree_proof.h"
#include "archiver/seal/signing.h"

namespace diptych::cli {
namespace {

using evidence::NoteKey;
using evidence::SignedCheckpoint;

constexpr absl::string_view kLogKeyFile = "log.vkey";
constexpr absl::string_view kLastFile = "checkpoint";
constexpr absl::string_view kRefusedFile = "refused";

}  // namespace

Witness::Witness(const Options& options, seal::SigningKey key)
    : options_(options), key_(std::move(key)) {}

std::string Witness::Path(absl::string_view name) const {
  return absl::StrCat(options_.state_directory, "/", name);
}

absl::Status Witness::Write(absl::string_view name, absl::string_view content) {
  RETURN_IF_ERROR(base::ReplaceFile(options_.file_system, Path(name), content));
  return options_.file_system->SyncDirectory(options_.state_directory);
}

absl::StatusOr<std::optional<std::string>> Witness::Read(
    absl::string_view name) const {
  // Two checkpoints fit.
  absl::StatusOr<std::string> content = evidence::ReadTreeFile(
      options_.file_system, Path(name), 2 * limits::kMaxCheckpoint_bytes);
  if (absl::IsNotFound(content.status())) return std::nullopt;
  RETURN_IF_ERROR(content.status());
  return *std::move(content);
}

absl::StatusOr<std::unique_ptr<Witness>> Witness::Open(const Options& options,
                                                       seal::SigningKey key) {
  std::unique_ptr<Witness> witness(new Witness(options, std::move(key)));
  const std::string& folder = options.state_directory;
  RETURN_IF_ERROR(options.file_system->CreateDirectory(folder));
  ASSIGN_OR_RETURN(const std::optional<std::string> refused,
                   witness->Read(kRefusedFile));
  if (refused.has_value()) {
    return absl::DataLossError(absl::StrCat(
        "this log has contradicted itself: ", witness->Path(kRefusedFile),
        " has the two checkpoints; nothing of it is signed any more"));
  }
  ASSIGN_OR_RETURN(const std::optional<std::string> pinned,
                   witness->Read(kLogKeyFile));
  if (pinned.has_value()) {
    const absl::StatusOr<NoteKey> parsed =
        NoteKey::Parse(absl::StripSuffix(*pinned, "\n"));
    if (!parsed.ok()) {
      return absl::DataLossError(absl::StrCat(witness->Path(kLogKeyFile), ": ",
                                              parsed.status().message()));
    }
    witness->log_key_ = *parsed;
    if (options.log_key.has_value() &&
        options.log_key->ToText() != parsed->ToText()) {
      return absl::FailedPreconditionError(
          absl::StrCat(folder,
                       " is the state of a witness of another log key: "
                       "use a new folder for another log"));
    }
  } else if (options.log_key.has_value()) {
    witness->log_key_ = *options.log_key;
    RETURN_IF_ERROR(witness->Write(
        kLogKeyFile, absl::StrCat(witness->log_key_.ToText(), "\n")));
  } else {
    return absl::FailedPreconditionError(absl::StrCat(
        folder, " knows no log yet: give its public key with --log-key"));
  }
  ASSIGN_OR_RETURN(const std::optional<std::string> last,
                   witness->Read(kLastFile));
  if (last.has_value()) {
    absl::StatusOr<SignedCheckpoint> opened =
        SignedCheckpoint::Open(*last, witness->log_key_);
    if (!opened.ok()) {
      return absl::DataLossError(absl::StrCat(witness->Path(kLastFile), ": ",
                                              opened.status().message()));
    }
    witness->last_ = *std::move(opened);
  }
  return witness;
}

absl::Status Witness::Refuse(const SignedCheckpoint& other,
                             absl::string_view why) {
  RETURN_IF_ERROR(Write(kRefusedFile, absl::StrCat(last_->note.ToText(), "\n",
                                                   other.note.ToText())));
  return absl::DataLossError(
      absl::StrCat("the log contradicts what it signed before: ", why,
                   "; both checkpoints are kept in ", Path(kRefusedFile)));
}

absl::StatusOr<std::string> Witness::Sign(absl::string_view note,
                                          const FetchProof& fetch,
                                          uint64_t time_s) {
  absl::StatusOr<SignedCheckpoint> opened =
      SignedCheckpoint::Open(note, log_key_);
  if (!opened.ok()) {
    return absl::DataLossError(absl::StrCat("the checkpoint is not the log's: ",
                                            opened.status().message()));
  }
  const evidence::Checkpoint& next = opened->checkpoint;
  if (last_.has_value()) {
    const evidence::Checkpoint& before = last_->checkpoint;
    if (next.size < before.size) {
      return absl::DataLossError(absl::StrCat(
          "the log was cut, or an older copy put in its place: it had ",
          before.size, " leaves, and shows ", next.size));
    }
    std::vector<std::string> proof;
    if (next.size > before.size) {
      ASSIGN_OR_RETURN(proof, fetch(before.size, next.size));
    }
    const absl::Status consistent = evidence::VerifyConsistency(
        before.size, next.size, before.root, next.root, proof);
    if (!consistent.ok()) {
      // A proof that is none says nothing of what the log signed.
      if (absl::IsInvalidArgument(consistent)) {
        return absl::DataLossError(
            absl::StrCat("the answer is no proof that the tree of ", next.size,
                         " leaves begins with that of ", before.size, ": ",
                         consistent.message(), "; nothing was signed"));
      }
      if (next.size == before.size) {
        return Refuse(*opened, consistent.message());
      }
      return Refuse(*opened,
                    absl::StrCat("the tree of ", next.size,
                                 " leaves is not shown to begin with that of ",
                                 before.size, " (", consistent.message(), ")"));
    }
  }
  if (next.size == 0) {
    return absl::DataLossError("the checkpoint is of an empty log");
  }
  evidence::SignedNote kept = {.text = opened->note.text, .signatures = {}};
  for (const evidence::NoteSignature& line : opened->note.signatures) {
    if (line.name == log_key_.name && line.key_id == log_key_.Id()) {
      kept.signatures = {line};
    }
  }
  opened->note = kept;
  // Before the signature is made, so that no other can ever be made beside it.
  RETURN_IF_ERROR(Write(kLastFile, kept.ToText()));
  last_ = *std::move(opened);
  kept.signatures.push_back(
      evidence::CosignNote(kept.text, options_.name.name, key_, time_s));
  return kept.ToText();
}

}  // namespace diptych::cli
