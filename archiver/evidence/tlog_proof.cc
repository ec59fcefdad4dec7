#include "archiver/evidence/tlog_proof.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/note.h"

namespace diptych::evidence {
namespace {

constexpr absl::string_view kFirstLine = "c2sp.org/tlog-proof@v1";
constexpr absl::string_view kExtra = "extra ";
constexpr absl::string_view kIndex = "index ";

// The next line of `rest`, which is taken off it; nullopt if none ends there.
std::optional<absl::string_view> TakeLine(absl::string_view* rest) {
  const size_t end = rest->find('\n');
  if (end == absl::string_view::npos) return std::nullopt;
  const absl::string_view line = rest->substr(0, end);
  rest->remove_prefix(end + 1);
  return line;
}

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("a log proof ", what));
}

}  // namespace

std::string TlogProof::ToText() const {
  std::string text = absl::StrCat(kFirstLine, "\n");
  if (extra.has_value()) {
    absl::StrAppend(&text, kExtra, absl::Base64Escape(*extra), "\n");
  }
  absl::StrAppend(&text, kIndex, index, "\n");
  for (const std::string& hash : hashes) {
    absl::StrAppend(&text, absl::Base64Escape(hash), "\n");
  }
  return absl::StrCat(text, "\n", checkpoint);
}

absl::StatusOr<TlogProof> TlogProof::Parse(absl::string_view text) {
  if (TakeLine(&text) != kFirstLine) {
    return Malformed(absl::StrCat("begins with the line ", kFirstLine));
  }
  TlogProof proof;
  std::optional<absl::string_view> line = TakeLine(&text);
  if (line.has_value() && absl::StartsWith(*line, kExtra)) {
    absl::StatusOr<std::string> extra =
        StrictBase64(line->substr(kExtra.size()));
    if (!extra.ok()) return Malformed("has its extra data in base64");
    proof.extra = *std::move(extra);
    line = TakeLine(&text);
  }
  if (!line.has_value() || !absl::ConsumePrefix(&*line, kIndex) ||
      !absl::SimpleAtoi(*line, &proof.index) ||
      absl::StrCat(proof.index) != *line) {
    return Malformed("names the leaf's index");
  }
  for (line = TakeLine(&text); line.has_value() && !line->empty();
       line = TakeLine(&text)) {
    absl::StatusOr<std::string> hash = StrictBase64(*line);
    if (!hash.ok() || hash->size() != base::kSha256_bytes) {
      return Malformed("has hashes of 32 bytes in base64, one a line");
    }
    if (proof.hashes.size() == limits::kMaxProofHashes) {
      return Malformed(
          absl::StrCat("has at most ", limits::kMaxProofHashes, " hashes"));
    }
    proof.hashes.push_back(*std::move(hash));
  }
  if (!line.has_value() || text.empty()) {
    return Malformed("ends with an empty line and a checkpoint");
  }
  if (text.size() > limits::kMaxCheckpoint_bytes) {
    return Malformed(absl::StrCat("has a checkpoint of at most ",
                                  limits::kMaxCheckpoint_bytes, " bytes"));
  }
  proof.checkpoint = std::string(text);
  return proof;
}

}  // namespace diptych::evidence
