#ifndef ARCHIVER_SEAL_KEY_FILE_H_
#define ARCHIVER_SEAL_KEY_FILE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

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
                          std::optional<absl::string_view> passphrase);
// The same, under another file name.
absl::Status WriteKeyFileTo(const std::string& path, const KeyPair& key,
                            std::optional<absl::string_view> passphrase);

// Takes a key file's text apart, wherever it came from; `where` names it in
// messages. FAILED_PRECONDITION if it is no key file of this name or needs a
// passphrase and there is none; PERMISSION_DENIED if the passphrase is wrong.
absl::StatusOr<KeyPair> ParseKeyFile(
    SecretText text, absl::string_view where, absl::string_view name,
    std::optional<absl::string_view> passphrase);

// Reads KEYS/NAME.key. Errors as above, and FAILED_PRECONDITION if others may
// read the file.
absl::StatusOr<KeyPair> ReadKeyFile(
    const std::string& key_folder, absl::string_view name,
    std::optional<absl::string_view> passphrase);
absl::StatusOr<KeyPair> ReadKeyFileAt(
    const std::string& path, absl::string_view name,
    std::optional<absl::string_view> passphrase);

// Where a recipient's key lies that is not the one in NAME.key: one that is
// retired, or about to take its place. KEYS/NAME-XXXXXXXX.key, with the first 8
// hexadecimal digits of its id.
std::string OtherKeyPath(const std::string& key_folder, absl::string_view name,
                         absl::string_view public_key);

// All keys of NAME that lie under such names, at most limits::kMaxRecipients.
// Those that do not open are left out; `left_out` then says why. OK and empty
// if there is no such folder.
absl::StatusOr<std::vector<KeyPair>> ReadOtherKeyFiles(
    const std::string& key_folder, absl::string_view name,
    std::optional<absl::string_view> passphrase,
    std::vector<absl::Status>* left_out);

// A file's content, at most `max_bytes`, read without a copy that is not wiped.
absl::StatusOr<SecretText> ReadSecretFile(const std::string& path,
                                          size_t max_bytes);
// The same from an open file or pipe, to its end.
absl::StatusOr<SecretText> ReadSecret(int fd, absl::string_view where,
                                      size_t max_bytes);

// First 8 bytes of SHA-256 of a public key: how wraps name their recipient.
std::string RecipientId(absl::string_view public_key);

// archive.textproto: everything public about an archive.
absl::Status WriteArchiveConfig(const std::string& data_folder,
                                const stored::v1::ArchiveConfig& config);
// The same where there is one already: whole, durably, or not at all.
absl::Status ReplaceArchiveConfig(const std::string& data_folder,
                                  const stored::v1::ArchiveConfig& config);
// NOT_FOUND if the folder holds no archive; the message names the folder.
absl::StatusOr<stored::v1::ArchiveConfig> ReadArchiveConfig(
    const std::string& data_folder);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_KEY_FILE_H_
