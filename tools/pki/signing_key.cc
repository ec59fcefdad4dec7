#include "tools/pki/signing_key.h"

#include <memory>
#include <string>

#include <climits>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::pki {
namespace {

constexpr size_t kPublicKey_bytes = 32;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

using BioPtr = std::unique_ptr<BIO, Freer<&BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<&EVP_PKEY_free>>;

// An encrypted key is refused instead of asked for on the terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/,
                 void* /*user*/) {
  return -1;
}

absl::StatusOr<SigningKey> Describe(EVP_PKEY* key) {
  SigningKey described;
  described.public_key.resize(kPublicKey_bytes);
  size_t size = kPublicKey_bytes;
  if (EVP_PKEY_get_raw_public_key(
          key, reinterpret_cast<unsigned char*>(described.public_key.data()),
          &size) != 1 ||
      size != kPublicKey_bytes) {
    return absl::InternalError("OpenSSL could not read a public key");
  }
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0,
                                    nullptr, nullptr) != 1) {
    return absl::InternalError("OpenSSL could not write a private key");
  }
  char* data = nullptr;
  const long written = BIO_get_mem_data(bio.get(), &data);
  described.private_key_pem.assign(data, static_cast<size_t>(written));
  return described;
}

}  // namespace

absl::StatusOr<SigningKey> MakeSigningKey() {
  const KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (key == nullptr) {
    return absl::InternalError("OpenSSL could not generate a key");
  }
  return Describe(key.get());
}

absl::StatusOr<SigningKey> ParseSigningKey(absl::string_view private_key_pem) {
  const absl::Status wrong =
      absl::InvalidArgumentError("not an unencrypted PEM Ed25519 private key");
  if (private_key_pem.size() > INT_MAX) return wrong;
  const BioPtr bio(BIO_new_mem_buf(private_key_pem.data(),
                                   static_cast<int>(private_key_pem.size())));
  const KeyPtr key(bio == nullptr
                       ? nullptr
                       : PEM_read_bio_PrivateKey(bio.get(), nullptr,
                                                 &NoPassphrase, nullptr));
  if (key == nullptr || EVP_PKEY_is_a(key.get(), "ED25519") != 1) return wrong;
  return Describe(key.get());
}

}  // namespace diptych::pki
