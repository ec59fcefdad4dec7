#ifndef ARCHIVER_SEAL_WRAP_H_
#define ARCHIVER_SEAL_WRAP_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

// What a root key is for; part of what is wrapped, so that a wrap can't be
// moved to another place.
struct WrapContext {
  absl::string_view archive_id;
  // Empty for envelopes.
  absl::string_view session_id;
  stored::v1::KeyClass key_class;
  uint64_t epoch = 0;
};

// One wrap for every recipient of the class that is not retired.
// FAILED_PRECONDITION if the archive names none: nobody could ever read it.
absl::StatusOr<std::vector<stored::v1::Wrap>> WrapKey(
    const stored::v1::ArchiveConfig& archive, const WrapContext& context,
    const SecretKey& key);

// PERMISSION_DENIED if `key_pair` is not the wrap's recipient, DATA_LOSS if the
// wrap does not open or is for something else.
absl::StatusOr<SecretKey> UnwrapKey(const stored::v1::Wrap& wrap,
                                    const WrapContext& context,
                                    const KeyPair& key_pair);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_WRAP_H_
