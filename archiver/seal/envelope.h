#ifndef ARCHIVER_SEAL_ENVELOPE_H_
#define ARCHIVER_SEAL_ENVELOPE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/key_file.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

// A small message sealed on its own to all recipients of a class: a fresh key,
// wrapped to each, and one AEAD message with `context` as associated data.
absl::StatusOr<stored::v1::SealedEnvelope> SealEnvelope(
    const stored::v1::ArchiveConfig& archive, stored::v1::KeyClass key_class,
    absl::string_view context, absl::string_view plaintext);

// PERMISSION_DENIED if none of `keys` is a recipient, DATA_LOSS if it was
// changed.
absl::StatusOr<std::string> OpenEnvelope(
    const stored::v1::ArchiveConfig& archive,
    const stored::v1::SealedEnvelope& envelope, absl::string_view context,
    const std::vector<KeyPair>& keys);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_ENVELOPE_H_
