#ifndef TOOLS_DIPTYCH_VERIFY_TRUST_H_
#define TOOLS_DIPTYCH_VERIFY_TRUST_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/evidence/note.h"

namespace diptych::verify {

// Whom somebody believes, by their public keys. Everything else that a bundle
// says is only taken for what these vouch for.
struct Trust {
  // Of logs, by their origins.
  std::vector<evidence::NoteKey> logs;
  // Of gateways: "diptych/ARCHIVE-UUID/gateway/NAME".
  std::vector<evidence::NoteKey> sources;
  std::vector<evidence::NoteKey> witnesses;
  // Certificates of time stamping authorities, PEM; empty: none.
  std::string tsa_certificates;

  // Null if the log's key is not among them.
  const evidence::NoteKey* FindLog(absl::string_view origin) const;
};

// Adds public keys as `diptych keys export` writes them: one a line, empty
// lines and lines that begin with # are passed over. INVALID_ARGUMENT, naming
// the line, if one is no key.
absl::Status AddKeys(absl::string_view text, Trust* trust);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_TRUST_H_
