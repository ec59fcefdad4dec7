#ifndef ARCHIVER_SEAL_KEY_FILE_H_
#define ARCHIVER_SEAL_KEY_FILE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

// A recipient's X25519 key pair.
struct KeyPair {
  std::string name;
  std::string public_key;
  SecretKey private_key;

  static KeyPair Generate(absl::string_view name);
  KeyPair Clone() const;
};

// Writes KEYS/NAME.key, mode 0600, new; encrypted with Argon2id (interactive
// limits of libsodium's "moderate" profile) if there is a passphrase.
absl::Status WriteKeyFile(const std::string& key_folder, const KeyPair& key,
                          const std::optional<std::string>& passphrase);

// Reads KEYS/NAME.key. FAILED_PRECONDITION if it needs a passphrase and there
// is none, or if others may read it; PERMISSION_DENIED if the passphrase is
// wrong.
absl::StatusOr<KeyPair> ReadKeyFile(
    const std::string& key_folder, absl::string_view name,
    const std::optional<std::string>& passphrase);

// First 8 bytes of SHA-256 of a public key: how wraps name their recipient.
std::string RecipientId(absl::string_view public_key);

// archive.textproto: everything public about an archive.
absl::Status WriteArchiveConfig(const std::string& data_folder,
                                const stored::v1::ArchiveConfig& config);
// NOT_FOUND if the folder holds no archive; the message names the folder.
absl::StatusOr<stored::v1::ArchiveConfig> ReadArchiveConfig(
    const std::string& data_folder);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_KEY_FILE_H_
