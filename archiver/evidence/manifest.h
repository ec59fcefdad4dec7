#ifndef ARCHIVER_EVIDENCE_MANIFEST_H_
#define ARCHIVER_EVIDENCE_MANIFEST_H_

#include <string>

#include "absl/strings/string_view.h"

namespace diptych::evidence {

// What the next manifest of a session names as previous_manifest_sha256, and a
// receipt as the last: SHA-256 over the Segment record's header as it lies in
// the log. 32 bytes.
std::string ManifestHash(absl::string_view segment_header);

// How a manifest names a chunk's content: SHA-256 over the record's body (nonce
// and ciphertext), so that it can be checked without a key. 32 bytes.
std::string BodyHash(absl::string_view chunk_body);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_MANIFEST_H_
