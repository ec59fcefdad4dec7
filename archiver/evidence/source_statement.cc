#include "archiver/evidence/source_statement.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/big_endian.h"

namespace diptych::evidence {

std::string SourceStatement::SignedBytes(absl::string_view archive_id,
                                         absl::string_view session_id) const {
  std::string bytes = absl::StrCat("diptych-source-1", archive_id, session_id);
  bytes.push_back(static_cast<char>(side));
  AppendU32(&bytes, track_id);
  AppendU64(&bytes, first_sequence);
  AppendU64(&bytes, last_sequence);
  AppendU64(&bytes, packets);
  bytes.append(root.empty() ? std::string(base::kSha256_bytes, '\0') : root);
  AppendU64(&bytes, static_cast<uint64_t>(signed_time_us));
  return bytes;
}

std::string SigningKeyId(absl::string_view public_key) {
  return base::Sha256(public_key).substr(0, 8);
}

std::string LogOrigin(absl::string_view archive_uuid_text) {
  return absl::StrCat("diptych/", archive_uuid_text);
}

std::string SourceName(absl::string_view archive_uuid_text,
                       absl::string_view gateway) {
  return absl::StrCat(LogOrigin(archive_uuid_text), "/gateway/", gateway);
}

}  // namespace diptych::evidence
