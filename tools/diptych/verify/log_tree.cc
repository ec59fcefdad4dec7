#include "tools/diptych/verify/log_tree.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/evidence/tlog_proof.h"
#include "archiver/evidence/tree_proof.h"
#include "archiver/log/record.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/timestamp_check.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr char kCheckpointFile[] = "data/checkpoint";
// A cosignature: 8 bytes of time, 64 of Ed25519.
constexpr size_t kCosignature_bytes = 72;
constexpr size_t kCosignatureTime_bytes = 8;
// Names of keys come from outside.
constexpr size_t kShownName_bytes = 200;

absl::Status False(absl::string_view place, absl::string_view what) {
  return base::IntegrityError(absl::StrCat(place, ": ", what));
}

std::string NoteKeyIdText(uint32_t id) { return absl::StrFormat("%08x", id); }

// The log's own signature.
absl::Status CheckLogSignature(const evidence::SignedNote& note,
                               absl::string_view origin,
                               absl::string_view place, const Trust& trust,
                               VerifyResult* result) {
  const evidence::NoteSignature* own = nullptr;
  for (const evidence::NoteSignature& signature : note.signatures) {
    if (signature.name == origin && own == nullptr) own = &signature;
  }
  if (own == nullptr) {
    return False(place, "is not signed in the name of the archive's log");
  }
  result->log_key.name = own->name;
  result->log_key.id = NoteKeyIdText(own->key_id);
  bool given = false;
  for (const evidence::NoteKey& key : trust.logs) {
    if (key.name != origin) continue;
    given = true;
    const absl::StatusOr<evidence::VerifiedSignature> verified =
        evidence::VerifyNote(note, key);
    if (verified.ok()) {
      result->log_key.id = NoteKeyIdText(key.Id());
      result->log_key.verified = true;
      return absl::OkStatus();
    }
    if (absl::IsDataLoss(verified.status())) {
      return False(place,
                   "the signature in the name of the log's key is not "
                   "its signature");
    }
  }
  if (given) {
    return False(place, "is not signed by the log's key that was given");
  }
  result->other_log_keys = !trust.logs.empty();
  return absl::OkStatus();
}

absl::Status CheckCosignatures(const evidence::SignedNote& note,
                               absl::string_view origin,
                               absl::string_view place, const Trust& trust,
                               uint64_t tree_size,
                               std::vector<SeenKey>* witnesses) {
  std::set<std::string> lines;
  for (const evidence::NoteSignature& signature : note.signatures) {
    if (signature.name == origin) continue;
    // Said twice, it is one.
    if (!lines.insert(signature.ToLine()).second) continue;
    SeenKey seen;
    seen.tree_size = tree_size;
    seen.name = signature.name.substr(0, kShownName_bytes);
    seen.id = NoteKeyIdText(signature.key_id);
    if (signature.bytes.size() == kCosignature_bytes) {
      uint64_t time_s = 0;
      for (size_t i = 0; i < kCosignatureTime_bytes; ++i) {
        time_s = time_s << 8 | static_cast<uint8_t>(signature.bytes[i]);
      }
      // Until the year 9999; what is later is no time of a signature.
      constexpr uint64_t kLatest_s = 253'402'300'799;
      if (time_s <= kLatest_s) {
        seen.signed_time_us = static_cast<int64_t>(time_s) * 1'000'000;
      }
    }
    for (const evidence::NoteKey& key : trust.witnesses) {
      if (key.name != signature.name || key.Id() != signature.key_id) continue;
      const absl::StatusOr<evidence::VerifiedSignature> verified =
          evidence::VerifyNote(note, key);
      if (!verified.ok()) {
        return False(place,
                     absl::StrCat("the cosignature of the witness ",
                                  absl::CEscape(seen.name), " is false"));
      }
      seen.verified = true;
    }
    witnesses->push_back(std::move(seen));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<evidence::SignedCheckpoint> CheckCheckpoint(
    absl::string_view note, absl::string_view place,
    absl::string_view archive_uuid, const Trust& trust, VerifyResult* result) {
  absl::StatusOr<evidence::SignedCheckpoint> checkpoint =
      evidence::SignedCheckpoint::Parse(note);
  if (!checkpoint.ok()) {
    return False(place, checkpoint.status().message());
  }
  const std::string origin = evidence::LogOrigin(archive_uuid);
  if (checkpoint->checkpoint.origin != origin) {
    return False(place, "is of another archive's log");
  }
  RETURN_IF_ERROR(
      CheckLogSignature(checkpoint->note, origin, place, trust, result));
  RETURN_IF_ERROR(CheckCosignatures(checkpoint->note, origin, place, trust,
                                    checkpoint->checkpoint.size,
                                    &result->witnesses));
  return checkpoint;
}

absl::StatusOr<LogTree> LogTree::Open(const BundleFolder* folder,
                                      const Evidence& evidence,
                                      const Trust& trust,
                                      VerifyResult* result) {
  ASSIGN_OR_RETURN(
      const std::string note,
      folder->ReadFile(kCheckpointFile, limits::kMaxCheckpoint_bytes));
  ASSIGN_OR_RETURN(evidence::SignedCheckpoint checkpoint,
                   CheckCheckpoint(note, kCheckpointFile,
                                   evidence.archive.ToString(), trust, result));
  result->log_key_verified = result->log_key.verified;
  result->tree_size = checkpoint.checkpoint.size;
  result->tree_root_hex = absl::BytesToHexString(checkpoint.checkpoint.root);
  return LogTree(folder, std::move(checkpoint));
}

absl::StatusOr<uint64_t> LogTree::CheckLeaf(log::RecordType type,
                                            const ProvenHeader& header,
                                            absl::string_view body_sha256,
                                            absl::string_view place) const {
  const std::string file = absl::StrCat("data/", header.proof);
  ASSIGN_OR_RETURN(const std::string text,
                   folder_->ReadFile(file, limits::kMaxCheckpoint_bytes * 2));
  const absl::StatusOr<evidence::TlogProof> proof =
      evidence::TlogProof::Parse(text);
  if (!proof.ok()) return False(file, proof.status().message());
  // Nothing vouches for it.
  if (proof->extra.has_value()) {
    return False(file, "has a part that no bundle has");
  }
  const absl::StatusOr<evidence::SignedNote> note =
      evidence::SignedNote::Parse(proof->checkpoint);
  if (!note.ok()) return False(file, note.status().message());
  if (note->text != checkpoint_.note.text) {
    return False(file, "leads to another checkpoint than data/checkpoint");
  }
  for (const evidence::NoteSignature& signature : note->signatures) {
    bool known = false;
    for (const evidence::NoteSignature& other : checkpoint_.note.signatures) {
      known |= other.ToLine() == signature.ToLine();
    }
    if (!known) {
      return False(file, "has a signature that data/checkpoint has not");
    }
  }
  const std::string digest =
      evidence::RecordDigestOf(type, header.header, body_sha256);
  const std::string leaf =
      evidence::LeafHash(evidence::LogLeafData(header.position, digest));
  const absl::Status included =
      evidence::VerifyInclusion(leaf, proof->index, checkpoint_.checkpoint.size,
                                proof->hashes, checkpoint_.checkpoint.root);
  if (!included.ok()) {
    return False(file, absl::StrCat("does not prove that ", place,
                                    " is in the archive's log"));
  }
  return proof->index;
}

absl::Status LogTree::CheckAnchors(const Evidence& evidence, const Trust& trust,
                                   VerifyResult* result) const {
  if (evidence.anchors.size() > limits::kMaxTimestamps) {
    return False("data/evidence.json.anchors", "are more than an archive has");
  }
  for (const Anchor& anchor : evidence.anchors) {
    const std::string file = absl::StrCat("data/", anchor.checkpoint);
    ASSIGN_OR_RETURN(const std::string text,
                     folder_->ReadFile(file, limits::kMaxCheckpoint_bytes));
    // Its witnesses count like those of the latest.
    VerifyResult seen;
    ASSIGN_OR_RETURN(
        const evidence::SignedCheckpoint earlier,
        CheckCheckpoint(text, file, evidence.archive.ToString(), trust, &seen));
    if (earlier.checkpoint.size > checkpoint_.checkpoint.size ||
        !evidence::VerifyConsistency(
             earlier.checkpoint.size, checkpoint_.checkpoint.size,
             earlier.checkpoint.root, checkpoint_.checkpoint.root,
             anchor.consistency)
             .ok()) {
      return False(file,
                   "is not proven to be an earlier state of data/checkpoint");
    }
    for (SeenKey& witness : seen.witnesses) {
      const bool known = std::any_of(
          result->witnesses.begin(), result->witnesses.end(),
          [&witness](const SeenKey& other) {
            return other.name == witness.name && other.id == witness.id &&
                   other.tree_size == witness.tree_size &&
                   other.signed_time_us == witness.signed_time_us;
          });
      if (!known) result->witnesses.push_back(std::move(witness));
    }
    if (anchor.timestamp.empty()) continue;
    const std::string stamp_file = absl::StrCat("data/", anchor.timestamp);
    ASSIGN_OR_RETURN(
        const std::string response,
        folder_->ReadFile(stamp_file, limits::kMaxTimestamp_bytes));
    absl::StatusOr<SeenTimestamp> stamp =
        CheckTimestamp(response, text, trust.tsa_certificates);
    if (!stamp.ok()) return False(stamp_file, stamp.status().message());
    stamp->tree_size = earlier.checkpoint.size;
    result->timestamps.push_back(*stamp);
  }
  return absl::OkStatus();
}

}  // namespace diptych::verify
