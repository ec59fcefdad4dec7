#ifndef ARCHIVER_EVIDENCE_TLOG_PROOF_H_
#define ARCHIVER_EVIDENCE_TLOG_PROOF_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::evidence {

// A leaf's inclusion with the checkpoint that it is proven in, as one text
// (C2SP tlog-proof). Pure: nothing is verified here.
struct TlogProof {
  // What the application put with it; not vouched for by anything.
  std::optional<std::string> extra;
  uint64_t index = 0;
  // From the leaf up, 32 bytes each.
  std::vector<std::string> hashes;
  // The signed note, as the log gave it.
  std::string checkpoint;

  std::string ToText() const;
  // INVALID_ARGUMENT, saying what is wrong, if it has another form. Takes at
  // most limits::kMaxProofHashes hashes.
  static absl::StatusOr<TlogProof> Parse(absl::string_view text);
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TLOG_PROOF_H_
