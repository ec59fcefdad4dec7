#ifndef TOOLS_DIPTYCH_VERIFY_TIMESTAMP_CHECK_H_
#define TOOLS_DIPTYCH_VERIFY_TIMESTAMP_CHECK_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// A time stamp (RFC 3161 TimeStampResp, DER) over SHA-256 of `data`. With
// certificates (PEM) of authorities it must chain up to one of them; without,
// it must be a granted one over `data` that its own signer signed, if it has
// the signer's certificate with it, and is not verified. DATA_LOSS, saying what
// is wrong, otherwise. `tree_size` is left to the caller.
absl::StatusOr<SeenTimestamp> CheckTimestamp(absl::string_view response,
                                             absl::string_view data,
                                             const std::string& certificates);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_TIMESTAMP_CHECK_H_
