#include "tools/diptych/push_signing.h"

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tools/diptych/profile.h"
#include "tools/gateway/source_signer.h"

namespace diptych::cli {

absl::StatusOr<std::shared_ptr<const gateway::SourceSigner>> LoadSourceSigner(
    const Profile& profile) {
  if (profile.source_key_pem.empty()) return nullptr;
  auto signer =
      gateway::SourceSigner::Make(profile.source_key_pem, profile.archive_id);
  if (signer.ok()) return signer;
  return absl::Status(signer.status().code(),
                      absl::StrCat(profile.folder, "/", kSourceKeyFile, ": ",
                                   signer.status().message()));
}

}  // namespace diptych::cli
