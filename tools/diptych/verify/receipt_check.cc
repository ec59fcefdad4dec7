#include "tools/diptych/verify/receipt_check.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/tree_proof.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/json_fields.h"
#include "tools/diptych/verify/log_tree.h"
#include "tools/diptych/verify/result_text.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr char kFormat[] = "diptych-receipt-1";

absl::Status False(absl::string_view what) {
  return base::IntegrityError(absl::StrCat("receipt: ", what));
}

absl::string_view SideName(stored::v1::Side side) {
  return side == stored::v1::SIDE_CLERK ? "clerk" : "resident";
}

// Hexadecimal as the command line prints it, or base64 as the rest has it.
std::string HashOf(const JsonFields& fields, const char* name) {
  const std::string text = fields.Text(name);
  if (text.size() == 2 * base::kSha256_bytes) {
    std::string bytes = absl::HexStringToBytes(text);
    if (absl::BytesToHexString(bytes) == text) return bytes;
  }
  return text.empty() ? "" : fields.Bytes(name);
}

// To the millisecond, as such texts are written.
bool SameTime(absl::string_view text, int64_t time_us) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return false;
  return std::abs(absl::ToUnixMicros(time) - time_us) < 1000;
}

// What is said for people of one side.
void CheckSide(const JsonFields& fields,
               const stored::v1::SessionClosed& closed) {
  const std::string name = fields.Text("side");
  for (const stored::v1::SideTotals& side : closed.sides()) {
    if (SideName(side.side()) != name) continue;
    const auto same = [&](const char* field, uint64_t value) {
      if (fields.Has(field) && fields.UInt(field) != value) {
        fields.Fail(field, "is not what the closing record says");
      }
    };
    same("final_sequence", side.last_sequence());
    same("last_sequence", side.last_sequence());
    same("packets", side.packets());
    same("bytes", side.payload_bytes());
    same("payload_bytes", side.payload_bytes());
    // Written in seconds, to the millisecond.
    const auto same_time = [&](const char* field, int64_t time_us) {
      const double difference_us =
          fields.Real(field) * 1e6 - static_cast<double>(time_us);
      if (fields.Has(field) && !(std::abs(difference_us) < 1000)) {
        fields.Fail(field, "is not what the closing record says");
      }
    };
    same_time("start_s", side.start_us());
    same_time("end_s", side.end_us());
    return;
  }
  fields.Fail("side", "is none of the closing record's");
}

absl::Status CheckFields(const JsonFields& top, const absl::Status& error,
                         const stored::v1::SessionClosed& closed) {
  const std::string state =
      closed.reason() == stored::v1::CLOSE_REASON_ABANDONED ? "abandoned"
                                                            : "closed";
  if (top.Text("state") != state) {
    top.Fail("state", "is not what the closing record says");
  }
  if (!SameTime(top.Text("closed_time"), closed.record_time_us())) {
    top.Fail("closed_time", "is not what the closing record says");
  }
  if (top.UInt("segments") != closed.segments()) {
    top.Fail("segments", "is not what the closing record says");
  }
  if (HashOf(top, "manifest_sha256") != closed.manifest_sha256()) {
    top.Fail("manifest_sha256", "is not what the closing record says");
  }
  size_t sides = 0;
  std::set<std::string> names;
  top.ForEach("sides", [&](const JsonFields& side) {
    ++sides;
    if (!names.insert(side.Text("side")).second) {
      side.Fail("side", "is there twice");
    }
    CheckSide(side, closed);
  });
  if (sides != static_cast<size_t>(closed.sides_size())) {
    top.Fail("sides", "are not those of the closing record");
  }
  return error;
}

absl::Status Check(absl::string_view text, const Trust& trust,
                   ReceiptResult* result) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(text, "receipt"));
  absl::Status error;
  const JsonFields top(json, "receipt", &error);
  if (top.Text("format") != kFormat) {
    top.Fail("format", absl::StrCat("is not ", kFormat));
  }
  const absl::StatusOr<base::Uuid> archive =
      base::Uuid::Parse(top.Text("archive"));
  const absl::StatusOr<base::Uuid> session =
      base::Uuid::Parse(top.Text("session"));
  if (!archive.ok()) top.Fail("archive", "is no UUID");
  if (!session.ok()) top.Fail("session", "is no UUID");
  result->closed_header = top.Bytes("closed_header");
  result->log_position = top.UInt("log_position");
  result->start_time = top.OptionalText("start_time");
  const uint64_t index = top.UInt("log_index");
  const std::vector<std::string> proof = top.Hashes("inclusion_proof");
  const std::string checkpoint_text = top.OptionalText("checkpoint");
  RETURN_IF_ERROR(error);
  result->archive = *archive;
  result->session = *session;

  stored::v1::SessionClosed closed;
  if (result->closed_header.size() > limits::kMaxRecordHeader_bytes ||
      !closed.ParseFromString(result->closed_header)) {
    return False("closed_header is no closing record");
  }
  if (closed.session_id() != result->session.bytes()) {
    return False("the closing record is of another session");
  }
  RETURN_IF_ERROR(CheckFields(top, error, closed));
  result->abandoned = closed.reason() == stored::v1::CLOSE_REASON_ABANDONED;
  result->closed_time_us = closed.record_time_us();
  result->segments = closed.segments();
  for (const stored::v1::SideTotals& side : closed.sides()) {
    result->sides.push_back(absl::StrCat(SideName(side.side()), ": ",
                                         side.packets(), " packets, ",
                                         side.payload_bytes(), " bytes"));
  }
  if (!result->start_time.empty()) {
    result->vouching.push_back(
        "When the session began is not proven: the closing record does not "
        "say it. A bundle of the session does (verify BUNDLE --receipt).");
  }
  if (checkpoint_text.empty()) {
    result->vouching.push_back(
        "No checkpoint came with it: nothing is proven yet.");
    return absl::OkStatus();
  }
  VerifyResult seen;
  ASSIGN_OR_RETURN(const evidence::SignedCheckpoint checkpoint,
                   CheckCheckpoint(checkpoint_text, "receipt.checkpoint",
                                   archive->ToString(), trust, &seen));
  const std::string leaf = evidence::LeafHash(evidence::LogLeafData(
      result->log_position,
      evidence::RecordDigest(log::RecordType::kSessionClosed,
                             result->closed_header, "")));
  if (!evidence::VerifyInclusion(leaf, index, checkpoint.checkpoint.size, proof,
                                 checkpoint.checkpoint.root)
           .ok()) {
    return False(
        "the proof does not lead from the closing record to the "
        "checkpoint");
  }
  result->log_key_verified = seen.log_key.verified;
  result->vouching.push_back(
      seen.log_key.verified
          ? absl::StrCat("The archive's log vouches for it: checkpoint of ",
                         checkpoint.checkpoint.size, " leaves, signed by key ",
                         seen.log_key.id, ".")
          : NotProvenText(seen));
  return absl::OkStatus();
}

}  // namespace

bool LooksLikeReceipt(absl::string_view text) {
  return absl::StrContains(text.substr(0, limits::kMaxReceipt_bytes),
                           "diptych-receipt-");
}

ReceiptResult VerifyReceipt(absl::string_view text, const Trust& trust) {
  ReceiptResult result;
  const absl::Status checked = Check(text, trust, &result);
  if (!checked.ok()) result.falsehood = std::string(checked.message());
  return result;
}

absl::Status CheckReceiptAgainst(const ReceiptResult& receipt,
                                 const base::Uuid& archive,
                                 const base::Uuid& session,
                                 int64_t start_time_us,
                                 const std::string* closed_header) {
  if (receipt.falsehood.has_value()) {
    return base::IntegrityError(*receipt.falsehood);
  }
  if (receipt.archive != archive || receipt.session != session) {
    return False("is of another session than the bundle");
  }
  if (closed_header == nullptr) {
    return False(
        "says that the session was closed, and the bundle that it was "
        "open");
  }
  if (*closed_header != receipt.closed_header) {
    return False("has another closing record than the bundle");
  }
  if (!receipt.start_time.empty() &&
      !SameTime(receipt.start_time, start_time_us)) {
    return False("start_time is not when the bundle's session began");
  }
  return absl::OkStatus();
}

}  // namespace diptych::verify
