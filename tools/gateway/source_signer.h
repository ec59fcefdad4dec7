#ifndef TOOLS_GATEWAY_SOURCE_SIGNER_H_
#define TOOLS_GATEWAY_SOURCE_SIGNER_H_

#include <memory>
#include <string>

#include <openssl/evp.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {

// A gateway's key, with which it signs what it sent to one archive
// (archiver/evidence/FORMAT.md, "What a gateway signs"). Thread-safe; one may
// serve any number of sessions.
class SourceSigner {
 public:
  // `private_key_pem` is Ed25519, unencrypted PKCS#8. INVALID_ARGUMENT if it is
  // not.
  static absl::StatusOr<std::shared_ptr<const SourceSigner>> Make(
      absl::string_view private_key_pem, const base::Uuid& archive_id);

  // Fills in signature and key id; the rest of `digest` is what is signed. The
  // same digest always gets the same signature. Leaves both empty if OpenSSL
  // can't sign.
  void Sign(const base::Uuid& session_id, api::v1::Side side,
            api::v1::SourceDigest* digest) const;

  // 32 bytes.
  const std::string& public_key() const { return public_key_; }

 private:
  struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };

  SourceSigner() = default;

  std::unique_ptr<EVP_PKEY, FreeKey> key_;
  std::string public_key_;
  std::string key_id_;
  base::Uuid archive_id_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SOURCE_SIGNER_H_
