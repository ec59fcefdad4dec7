#ifndef ARCHIVER_SEAL_AEAD_H_
#define ARCHIVER_SEAL_AEAD_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {

// Suite 1's cipher: XChaCha20-Poly1305 (IETF) with a random 24-byte nonce,
// which goes in front of ciphertext and tag. Random nonces of that length may
// be used without limit under one key.
std::string AeadSeal(const SecretKey& key, absl::string_view associated_data,
                     absl::string_view plaintext);

// DATA_LOSS if key, associated data or bytes are not what they were.
absl::StatusOr<std::string> AeadOpen(const SecretKey& key,
                                     absl::string_view associated_data,
                                     absl::string_view sealed);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_AEAD_H_
