#ifndef TOOLS_PKI_PKI_H_
#define TOOLS_PKI_PKI_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"

// Certificates of one archive, and the private keys that belong to them.
// ECDSA over P-256, X.509 v3, SHA-256. All functions are thread-safe.
namespace diptych::pki {

// A certificate and its private key, both PEM; the key unencrypted PKCS#8.
struct Credential {
  std::string certificate_pem;
  std::string private_key_pem;
};

// A new certificate authority for `archive_id`: may sign leaves, no further
// authorities; valid for ten years.
absl::StatusOr<Credential> MakeAuthority(const base::Uuid& archive_id);

// A certificate for `principal`, signed by `authority`, valid for 825 days. Its
// subject alternative name is the principal's URI; a server's also has
// localhost, 127.0.0.1 and ::1. Servers may only serve, all others only call.
absl::StatusOr<Credential> IssueCertificate(const Credential& authority,
                                            const base::Principal& principal);

// The same key as encrypted PKCS#8 (scrypt, AES-256-CBC), which OpenSSL's own
// tools read.
absl::StatusOr<std::string> EncryptPrivateKeyPem(
    absl::string_view private_key_pem, absl::string_view passphrase);

// Reads a private key file, encrypted or not, and returns it unencrypted, as
// gRPC wants it. FAILED_PRECONDITION if it needs a passphrase and there is
// none, or if others than its owner may read it; PERMISSION_DENIED if the
// passphrase is wrong. Messages name the path.
absl::StatusOr<std::string> ReadPrivateKeyPem(
    const std::string& path, const std::optional<std::string>& passphrase);

// The first line of a passphrase file, without its line end. INVALID_ARGUMENT
// if it is empty.
absl::StatusOr<std::string> ReadPassphraseFile(const std::string& path);

}  // namespace diptych::pki

#endif  // TOOLS_PKI_PKI_H_
