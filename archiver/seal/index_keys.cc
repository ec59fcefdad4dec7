#include "archiver/seal/index_keys.h"

#include <string>

#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/seal/aead.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/use_ledger.h"

namespace diptych::seal {
namespace {

SecretKey Derive(const KeyPair& key, uint64_t id) {
  SecretKey derived;
  crypto_kdf_derive_from_key(derived.mutable_data(), SecretKey::kSize, id,
                             "dpt-indx", key.private_key.data());
  WipeStack();
  return derived;
}

}  // namespace

IndexKeys IndexKeys::Derive(const KeyPair& index_key) {
  IndexKeys keys;
  keys.token_key_ = seal::Derive(index_key, 1);
  keys.row_key_ = seal::Derive(index_key, 2);
  keys.page_key_ = seal::Derive(index_key, 3);
  NoteKeyMade(keys.row_key_, KeyLife::kStanding, {.kind = "index-rows"});
  NoteKeyMade(keys.page_key_, KeyLife::kStanding, {.kind = "page-tokens"});
  return keys;
}

std::string IndexKeys::Token(absl::string_view key,
                             absl::string_view value) const {
  // Keys have at most 63 bytes, so one length byte keeps (a, bc) from (ab, c).
  const char length = static_cast<char>(key.size());
  const std::string input =
      absl::StrCat(absl::string_view(&length, 1), key, value);
  std::string token(kToken_bytes, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(token.data()),
                     token.size(),
                     reinterpret_cast<const unsigned char*>(input.data()),
                     input.size(), token_key_.data(), SecretKey::kSize);
  return token;
}

std::string IndexKeys::Fingerprint() const {
  // No tag key is that long, so no token is the same.
  return Token(std::string(limits::kMaxTagKey_bytes + 1, 'k'), "fingerprint");
}

std::string IndexKeys::SealRow(absl::string_view context,
                               absl::string_view plaintext) const {
  return AeadSeal(row_key_, context, plaintext);
}

absl::StatusOr<std::string> IndexKeys::OpenRow(absl::string_view context,
                                               absl::string_view sealed) const {
  return AeadOpen(row_key_, context, sealed);
}

std::string IndexKeys::SealPageToken(absl::string_view context,
                                     absl::string_view plaintext) const {
  return AeadSeal(page_key_, context, plaintext);
}

absl::StatusOr<std::string> IndexKeys::OpenPageToken(
    absl::string_view context, absl::string_view sealed) const {
  absl::StatusOr<std::string> opened = AeadOpen(page_key_, context, sealed);
  if (!opened.ok()) {
    return absl::InvalidArgumentError(
        "the page token is not one that was given for this question");
  }
  return opened;
}

}  // namespace diptych::seal
