#include "archiver/seal/signing.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {
namespace {

static_assert(crypto_sign_SEEDBYTES == SecretKey::kSize);
static_assert(crypto_sign_PUBLICKEYBYTES == kSigningPublicKey_bytes);
static_assert(crypto_sign_BYTES == kSignature_bytes);

struct PkeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pkey = std::unique_ptr<EVP_PKEY, PkeyFree>;

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, BioFree>;

// Asked for the passphrase of an encrypted key: there is none, and nobody at
// the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

const uint8_t* Bytes(absl::string_view data) {
  return reinterpret_cast<const uint8_t*>(data.data());
}

}  // namespace

SigningKey::SigningKey(SecretKey seed, std::string public_key)
    : seed_(std::move(seed)), public_key_(std::move(public_key)) {}

SigningKey SigningKey::Generate() { return FromSeed(SecretKey::Random()); }

SigningKey SigningKey::FromSeed(SecretKey seed) {
  std::string public_key(kSigningPublicKey_bytes, '\0');
  std::array<uint8_t, crypto_sign_SECRETKEYBYTES> secret;
  crypto_sign_seed_keypair(reinterpret_cast<uint8_t*>(public_key.data()),
                           secret.data(), seed.data());
  sodium_memzero(secret.data(), secret.size());
  WipeStack();
  return SigningKey(std::move(seed), std::move(public_key));
}

absl::StatusOr<SigningKey> SigningKey::FromPem(absl::string_view pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const Pkey key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  SecretKey seed;
  size_t size = SecretKey::kSize;
  if (key == nullptr || EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_private_key(key.get(), seed.mutable_data(), &size) !=
          1 ||
      size != SecretKey::kSize) {
    return absl::InvalidArgumentError("this is no Ed25519 key in PEM");
  }
  return FromSeed(std::move(seed));
}

std::string SigningKey::Sign(absl::string_view message) const {
  // libsodium's secret key is the seed and the public key.
  std::array<uint8_t, crypto_sign_SECRETKEYBYTES> secret;
  std::copy_n(seed_.data(), SecretKey::kSize, secret.begin());
  std::copy(public_key_.begin(), public_key_.end(),
            secret.begin() + SecretKey::kSize);
  std::string signature(kSignature_bytes, '\0');
  crypto_sign_detached(reinterpret_cast<uint8_t*>(signature.data()), nullptr,
                       Bytes(message), message.size(), secret.data());
  sodium_memzero(secret.data(), secret.size());
  WipeStack();
  return signature;
}

std::string SigningKey::ToPem() const {
  const Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                              seed_.data(), SecretKey::kSize));
  const Bio bio(BIO_new(BIO_s_secmem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0,
                                nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

absl::StatusOr<SigningKey> ReadSigningKey(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  if ((info.st_mode & (S_IRWXO | S_IRWXG)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " can be read by others; make it private with chmod 600"));
  }
  ASSIGN_OR_RETURN(std::string pem,
                   base::ReadWholeFile(path, limits::kMaxPemFile_bytes));
  absl::StatusOr<SigningKey> key = SigningKey::FromPem(pem);
  sodium_memzero(pem.data(), pem.size());
  if (!key.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", key.status().message()));
  }
  return key;
}

bool VerifySignature(absl::string_view public_key, absl::string_view message,
                     absl::string_view signature) {
  return public_key.size() == kSigningPublicKey_bytes &&
         signature.size() == kSignature_bytes &&
         crypto_sign_verify_detached(Bytes(signature), Bytes(message),
                                     message.size(), Bytes(public_key)) == 0;
}

}  // namespace diptych::seal
