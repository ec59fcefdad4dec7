#include "tools/diptych/verify/bag.h"

#include <cstdint>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace diptych::verify {
namespace {

constexpr size_t kHash_digits = 64;
constexpr size_t kShownPath_bytes = 200;
constexpr absl::string_view kBetween = "  ";

}  // namespace

std::string BagDeclaration() {
  return "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
}

std::string BagInfoText(const BagInfo& info) {
  return absl::StrCat(
      "Source-Organization: diptych/", info.archive, "\nBagging-Date: ",
      absl::FormatTime("%Y-%m-%d", absl::FromUnixMicros(info.access_time_us),
                       absl::UTCTimeZone()),
      "\nExternal-Identifier: ", info.session,
      "\nPayload-Oxum: ", info.payload_bytes, ".", info.payload_files, "\n");
}

std::string ManifestText(const FileHashes& hashes) {
  std::string text;
  for (const auto& [path, hash] : hashes) {
    absl::StrAppend(&text, hash, kBetween, path, "\n");
  }
  return text;
}

std::string ManifestDifference(absl::string_view manifest_name,
                               absl::string_view text,
                               const FileHashes& hashes) {
  FileHashes listed;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.size() <= kHash_digits + kBetween.size()) continue;
    listed.emplace(line.substr(kHash_digits + kBetween.size()),
                   line.substr(0, kHash_digits));
  }
  for (const auto& [path, hash] : hashes) {
    const auto found = listed.find(path);
    if (found == listed.end()) {
      return absl::StrCat(path, ": ", manifest_name, " does not name it");
    }
    if (found->second != hash) {
      return absl::StrCat(path, ": is not what ", manifest_name, " says");
    }
  }
  for (const auto& [path, hash] : listed) {
    if (hashes.contains(path)) continue;
    // Names from the list come from outside.
    return absl::StrCat(absl::CEscape(path.substr(0, kShownPath_bytes)),
                        ": is missing (", manifest_name, " names it)");
  }
  return absl::StrCat(manifest_name,
                      ": is not written as this format has it (one line a "
                      "file, sorted by path)");
}

}  // namespace diptych::verify
