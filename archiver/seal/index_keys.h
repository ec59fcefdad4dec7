#ifndef ARCHIVER_SEAL_INDEX_KEYS_H_
#define ARCHIVER_SEAL_INDEX_KEYS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {

// The index's own symmetric keys, derived from the index recipient's private
// key: for tag tokens, for rows at rest, for page tokens. A new index key is a
// new index. Thread-safe once made.
class IndexKeys {
 public:
  static constexpr size_t kToken_bytes = 16;

  static IndexKeys Derive(const KeyPair& index_key);

  IndexKeys(IndexKeys&&) = default;
  IndexKeys& operator=(IndexKeys&&) = default;

  // What stands for (key, value) in the index: BLAKE2b-128 under the token key
  // over the key's length, the key and the value. An empty value stands for
  // "has this key at all".
  std::string Token(absl::string_view key, absl::string_view value) const;

  // Tells these keys from others; says nothing about them.
  std::string Fingerprint() const;

  // Encrypts a row; `context` (the row's key) is bound to it.
  std::string SealRow(absl::string_view context,
                      absl::string_view plaintext) const;
  // DATA_LOSS if row or context were changed.
  absl::StatusOr<std::string> OpenRow(absl::string_view context,
                                      absl::string_view sealed) const;

  // The same under another key, for tokens that leave the process.
  // INVALID_ARGUMENT if it is not ours or is for another context.
  std::string SealPageToken(absl::string_view context,
                            absl::string_view plaintext) const;
  absl::StatusOr<std::string> OpenPageToken(absl::string_view context,
                                            absl::string_view sealed) const;

 private:
  IndexKeys() = default;

  SecretKey token_key_;
  SecretKey row_key_;
  SecretKey page_key_;
};

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_INDEX_KEYS_H_
