#ifndef ARCHIVER_SEAL_SIGNING_H_
#define ARCHIVER_SEAL_SIGNING_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {

// Ed25519 (RFC 8032, no prehash): keys and signatures as raw bytes.
inline constexpr size_t kSigningPublicKey_bytes = 32;
inline constexpr size_t kSignature_bytes = 64;

// A key that signs. Its secret is wiped when it goes. Sign is thread-safe.
class SigningKey {
 public:
  static SigningKey Generate();
  // The private key of RFC 8032, 32 bytes.
  static SigningKey FromSeed(SecretKey seed);
  // PEM, PKCS#8, not encrypted. INVALID_ARGUMENT if it is anything else.
  static absl::StatusOr<SigningKey> FromPem(absl::string_view pem);

  SigningKey(SigningKey&&) noexcept = default;
  SigningKey& operator=(SigningKey&&) noexcept = default;

  // 32 bytes.
  const std::string& public_key() const { return public_key_; }
  // 64 bytes.
  std::string Sign(absl::string_view message) const;
  // As FromPem takes it. The caller wipes it.
  std::string ToPem() const;

 private:
  SigningKey(SecretKey seed, std::string public_key);

  SecretKey seed_;
  std::string public_key_;
};

// Reads a key file as FromPem takes it; errors name it. FAILED_PRECONDITION if
// others than its owner may read it.
absl::StatusOr<SigningKey> ReadSigningKey(const std::string& path);

// True if `signature` is `public_key`'s of `message`. Strict: no second
// encoding of a signature, and no key or point of small order, is taken.
bool VerifySignature(absl::string_view public_key, absl::string_view message,
                     absl::string_view signature);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_SIGNING_H_
