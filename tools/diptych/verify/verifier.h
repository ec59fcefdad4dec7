#ifndef TOOLS_DIPTYCH_VERIFY_VERIFIER_H_
#define TOOLS_DIPTYCH_VERIFY_VERIFIER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

struct VerifyOptions {
  Trust trust;
  // The folder has data/ alone, and no data/report.html yet: what `export`
  // looks at before it writes the rest. Whatever else lies there is passed
  // over.
  bool before_bag = false;
  // A receipt that the bundle's closing must agree with; its text. Empty: none.
  std::string receipt;
  // Bytes read and of how many; an error ends the work and comes back.
  std::function<absl::Status(uint64_t done, uint64_t total)> on_progress;
};

// Proves a bundle (archiver/evidence/BUNDLE_FORMAT.md, "What a verifier
// shows") with public keys alone: no network, no server, no private key. What
// is false is in the result; an error is for what could not be looked at:
// NOT_FOUND if there is no such folder, INTERNAL if the disk fails, whatever
// on_progress returns. Nothing in the folder is trusted: memory and time are
// bounded by limits and the folder's size. Media is read once to be hashed and
// once packet by packet, never decoded.
absl::StatusOr<VerifyResult> VerifyBundle(const std::string& folder,
                                          const VerifyOptions& options);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_VERIFIER_H_
