#ifndef TOOLS_PKI_SIGNING_KEY_H_
#define TOOLS_PKI_SIGNING_KEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Ed25519 keys (RFC 8032): the log's, with which it signs checkpoints, and a
// gateway's, with which it signs what it sent. All functions are thread-safe.
namespace diptych::pki {

struct SigningKey {
  // Unencrypted PKCS#8, PEM.
  std::string private_key_pem;
  // 32 bytes.
  std::string public_key;
};

absl::StatusOr<SigningKey> MakeSigningKey();

// The key of a PEM text, as pki::ReadPrivateKeyPem gives it. INVALID_ARGUMENT
// if that is not an Ed25519 key.
absl::StatusOr<SigningKey> ParseSigningKey(absl::string_view private_key_pem);

}  // namespace diptych::pki

#endif  // TOOLS_PKI_SIGNING_KEY_H_
