#ifndef TOOLS_DIPTYCH_PUSH_SIGNING_H_
#define TOOLS_DIPTYCH_PUSH_SIGNING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "tools/diptych/profile.h"
#include "tools/gateway/source_signer.h"

namespace diptych::cli {

// With the profile's source key; null if it has none. INVALID_ARGUMENT names
// the file.
absl::StatusOr<std::shared_ptr<const gateway::SourceSigner>> LoadSourceSigner(
    const Profile& profile);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_PUSH_SIGNING_H_
