#include "tools/diptych/verify/trust.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/evidence/note.h"

namespace diptych::verify {

const evidence::NoteKey* Trust::FindLog(absl::string_view origin) const {
  for (const evidence::NoteKey& key : logs) {
    if (key.name == origin) return &key;
  }
  return nullptr;
}

absl::Status AddKeys(absl::string_view text, Trust* trust) {
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    absl::StatusOr<evidence::NoteKey> key = evidence::NoteKey::Parse(line);
    if (!key.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "line ", number,
          " is no public key (NAME+ID+BASE64): ", key.status().message()));
    }
    if (key->type == evidence::NoteKeyType::kCosignature) {
      trust->witnesses.push_back(*std::move(key));
    } else if (absl::StrContains(key->name, "/gateway/")) {
      trust->sources.push_back(*std::move(key));
    } else {
      trust->logs.push_back(*std::move(key));
    }
  }
  return absl::OkStatus();
}

}  // namespace diptych::verify
