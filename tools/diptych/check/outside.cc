#include "tools/diptych/check/outside.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tlog_proof.h"
#include "archiver/evidence/tree_proof.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::check {
namespace {

using nlohmann::json;

constexpr absl::string_view kProofBegins = "c2sp.org/tlog-proof@v1\n";
constexpr absl::string_view kReceiptFormat = "diptych-receipt-1";

struct Receipt {
  std::string closed_header;
  uint64_t position = 0;
  uint64_t index = 0;
  std::vector<std::string> proof;
  std::string checkpoint;
};

std::optional<std::string> Base64(const json& value) {
  if (!value.is_string()) return std::nullopt;
  absl::StatusOr<std::string> bytes =
      evidence::StrictBase64(value.get_ref<const std::string&>());
  if (!bytes.ok()) return std::nullopt;
  return *std::move(bytes);
}

std::optional<uint64_t> Number(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_number_unsigned()) {
    return std::nullopt;
  }
  return found->get<uint64_t>();
}

absl::StatusOr<Receipt> ParseReceipt(const std::string& name,
                                     absl::string_view text) {
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(name, what));
  };
  const json object = json::parse(text.begin(), text.end(), nullptr,
                                  /*allow_exceptions=*/false);
  if (!object.is_object() ||
      object.value("format", json()) != std::string(kReceiptFormat)) {
    return wrong(" is no receipt");
  }
  if (!object.contains("checkpoint") || !object["checkpoint"].is_string() ||
      object["checkpoint"].get_ref<const std::string&>().empty()) {
    return wrong(" is a receipt without a checkpoint, which proves nothing");
  }
  Receipt receipt;
  receipt.checkpoint = object["checkpoint"].get<std::string>();
  const auto header = Base64(object.value("closed_header", json()));
  const auto position = Number(object, "log_position");
  const auto index = Number(object, "log_index");
  const json proof = object.value("inclusion_proof", json());
  if (!header.has_value() || !position.has_value() || !index.has_value() ||
      !proof.is_array()) {
    return wrong(" is a receipt that lacks a field");
  }
  for (const json& hash : proof) {
    auto bytes = Base64(hash);
    if (!bytes.has_value()) return wrong(" is a receipt with a false proof");
    receipt.proof.push_back(*std::move(bytes));
  }
  receipt.closed_header = *header;
  receipt.position = *position;
  receipt.index = *index;
  return receipt;
}

}  // namespace

absl::StatusOr<evidence::NoteKey> LogKey(
    const stored::v1::ArchiveConfig& archive) {
  if (archive.log_key().public_key().empty()) {
    return absl::FailedPreconditionError(
        "archive.textproto names no key of the log");
  }
  return evidence::NoteKey{.name = archive.log_key().name(),
                           .type = evidence::NoteKeyType::kEd25519,
                           .public_key = archive.log_key().public_key()};
}

absl::StatusOr<Outside> ParseOutside(absl::string_view file_name,
                                     absl::string_view text,
                                     const stored::v1::ArchiveConfig& archive) {
  const std::string name(file_name);
  ASSIGN_OR_RETURN(const evidence::NoteKey log_key, LogKey(archive));
  Outside outside;
  outside.name = name;
  std::string note(text);
  std::optional<Receipt> receipt;
  if (absl::StartsWith(text, "{")) {
    ASSIGN_OR_RETURN(receipt, ParseReceipt(name, text));
    note = receipt->checkpoint;
  } else if (absl::StartsWith(text, kProofBegins)) {
    const auto proof = evidence::TlogProof::Parse(text);
    if (!proof.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", proof.status().message()));
    }
    note = proof->checkpoint;
  }
  const auto opened = evidence::SignedCheckpoint::Open(note, log_key);
  if (absl::IsInvalidArgument(opened.status())) {
    return absl::InvalidArgumentError(absl::StrCat(
        name,
        " is no checkpoint, receipt or proof: ", opened.status().message()));
  }
  const auto parsed = evidence::SignedCheckpoint::Parse(note);
  if (parsed.ok() && parsed->checkpoint.origin != log_key.name) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is of ", parsed->checkpoint.origin,
                     ", another archive than this, which is ", log_key.name));
  }
  if (!opened.ok()) {
    return base::IntegrityError(absl::StrCat(
        name, " is not of this archive's log: ", opened.status().message()));
  }
  outside.checkpoint = opened->checkpoint;
  if (!receipt.has_value()) return outside;
  const std::string leaf_hash = evidence::LeafHash(evidence::LogLeafData(
      receipt->position, evidence::RecordDigest(log::RecordType::kSessionClosed,
                                                receipt->closed_header, "")));
  const absl::Status included = evidence::VerifyInclusion(
      leaf_hash, receipt->index, outside.checkpoint.size, receipt->proof,
      outside.checkpoint.root);
  if (!included.ok()) {
    return base::IntegrityError(absl::StrCat(
        name, " does not prove its own record: ", included.message()));
  }
  outside.leaf_index = receipt->index;
  outside.leaf = OutsideLeaf{name, receipt->position, leaf_hash};
  return outside;
}

}  // namespace diptych::check
