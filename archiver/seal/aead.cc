#include "archiver/seal/aead.h"

#include <string>

#include <sodium.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/use_ledger.h"

namespace diptych::seal {
namespace {

constexpr size_t kNonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::string AeadSeal(const SecretKey& key, absl::string_view associated_data,
                     absl::string_view plaintext) {
  std::string sealed(kNonce_bytes + plaintext.size() + kTag_bytes, '\0');
  unsigned char* out = reinterpret_cast<unsigned char*>(sealed.data());
  randombytes_buf(out, kNonce_bytes);
  NoteKeyUsed(key, absl::string_view(sealed).substr(0, kNonce_bytes));
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      out + kNonce_bytes, nullptr, Bytes(plaintext), plaintext.size(),
      Bytes(associated_data), associated_data.size(), nullptr, out, key.data());
  WipeStack();
  return sealed;
}

absl::StatusOr<std::string> AeadOpen(const SecretKey& key,
                                     absl::string_view associated_data,
                                     absl::string_view sealed) {
  if (sealed.size() < kNonce_bytes + kTag_bytes) {
    return base::IntegrityError("a sealed message is cut short");
  }
  const absl::string_view nonce = sealed.substr(0, kNonce_bytes);
  const absl::string_view ciphertext = sealed.substr(kNonce_bytes);
  std::string plaintext(ciphertext.size() - kTag_bytes, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<unsigned char*>(plaintext.data()), nullptr, nullptr,
          Bytes(ciphertext), ciphertext.size(), Bytes(associated_data),
          associated_data.size(), Bytes(nonce), key.data()) != 0) {
    return base::IntegrityError(
        "a sealed message does not open: it or its header was changed");
  }
  return plaintext;
}

}  // namespace diptych::seal
