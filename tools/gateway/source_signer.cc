#include "tools/gateway/source_signer.h"

#include <cstdint>
#include <memory>
#include <string>

#include <climits>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/source_statement.h"

namespace diptych::gateway {
namespace {

constexpr size_t kPublicKey_bytes = 32;
constexpr size_t kSignature_bytes = 64;

// An encrypted key is refused instead of asked for on the terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/,
                 void* /*user*/) {
  return -1;
}

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SourceSigner>> SourceSigner::Make(
    absl::string_view private_key_pem, const base::Uuid& archive_id) {
  const absl::Status wrong = absl::InvalidArgumentError(
      "a source key must be an unencrypted PEM Ed25519 private key");
  if (private_key_pem.size() > INT_MAX) return wrong;
  const std::unique_ptr<BIO, FreeBio> bio(BIO_new_mem_buf(
      private_key_pem.data(), static_cast<int>(private_key_pem.size())));
  auto signer = absl::WrapUnique(new SourceSigner());
  signer->archive_id_ = archive_id;
  if (bio != nullptr) {
    signer->key_.reset(
        PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  }
  if (signer->key_ == nullptr ||
      EVP_PKEY_is_a(signer->key_.get(), "ED25519") != 1) {
    return wrong;
  }
  size_t size = kPublicKey_bytes;
  signer->public_key_.resize(size);
  if (EVP_PKEY_get_raw_public_key(
          signer->key_.get(),
          reinterpret_cast<unsigned char*>(signer->public_key_.data()),
          &size) != 1 ||
      size != kPublicKey_bytes) {
    return wrong;
  }
  signer->key_id_ = evidence::SigningKeyId(signer->public_key_);
  return std::shared_ptr<const SourceSigner>(std::move(signer));
}

void SourceSigner::Sign(const base::Uuid& session_id, api::v1::Side side,
                        api::v1::SourceDigest* digest) const {
  const evidence::SourceStatement statement = {
      .side = static_cast<uint8_t>(side),
      .track_id = digest->track_id(),
      .first_sequence = digest->first_sequence(),
      .last_sequence = digest->last_sequence(),
      .packets = digest->packets(),
      .root = digest->root(),
      .signed_time_us = digest->signed_time().seconds() * 1'000'000 +
                        digest->signed_time().nanos() / 1000};
  const std::string signed_bytes = statement.SignedBytes(
      std::string(archive_id_.bytes()), std::string(session_id.bytes()));
  std::string signature(kSignature_bytes, '\0');
  size_t size = kSignature_bytes;
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr,
                         key_.get()) != 1 ||
      EVP_DigestSign(context.get(),
                     reinterpret_cast<unsigned char*>(signature.data()), &size,
                     Bytes(signed_bytes), signed_bytes.size()) != 1 ||
      size != kSignature_bytes) {
    return;
  }
  digest->set_signature(std::move(signature));
  digest->set_key_id(key_id_);
}

}  // namespace diptych::gateway
