#include "archiver/evidence/manifest.h"

#include <string>

#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"

namespace diptych::evidence {

std::string ManifestHash(absl::string_view segment_header) {
  return base::Sha256(segment_header);
}

std::string BodyHash(absl::string_view chunk_body) {
  return base::Sha256(chunk_body);
}

}  // namespace diptych::evidence
