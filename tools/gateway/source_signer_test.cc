#include "tools/gateway/source_signer.h"

#include <string>

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "absl/status/status.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/source_statement.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/pki/pki.h"
#include "tools/pki/signing_key.h"

namespace diptych::gateway {
namespace {

api::v1::SourceDigest Digest() {
  api::v1::SourceDigest digest;
  digest.set_track_id(3);
  digest.set_first_sequence(11);
  digest.set_last_sequence(20);
  digest.set_packets(7);
  digest.set_root(std::string(32, 'r'));
  digest.mutable_signed_time()->set_seconds(1'700'000'000);
  digest.mutable_signed_time()->set_nanos(123'456'000);
  return digest;
}

bool Verifies(const std::string& public_key, const std::string& data,
              const std::string& signature) {
  EVP_PKEY* const key = EVP_PKEY_new_raw_public_key(
      EVP_PKEY_ED25519, nullptr,
      reinterpret_cast<const unsigned char*>(public_key.data()),
      public_key.size());
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, key);
  const bool good =
      EVP_DigestVerify(
          context, reinterpret_cast<const unsigned char*>(signature.data()),
          signature.size(), reinterpret_cast<const unsigned char*>(data.data()),
          data.size()) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  return good;
}

TEST(SourceSignerTest, SignsEveryFieldForOneArchiveAndSession) {
  const base::Uuid archive = base::Uuid::Random();
  const base::Uuid session = base::Uuid::Random();
  const auto key = pki::MakeSigningKey();
  const auto signer = SourceSigner::Make(key->private_key_pem, archive);
  ASSERT_TRUE(signer.ok()) << signer.status();
  EXPECT_EQ((*signer)->public_key(), key->public_key);
  api::v1::SourceDigest digest = Digest();
  (*signer)->Sign(session, api::v1::SIDE_CLERK, &digest);
  EXPECT_EQ(digest.key_id(), evidence::SigningKeyId(key->public_key));
  evidence::SourceStatement said = {.side = 2,
                                    .track_id = 3,
                                    .first_sequence = 11,
                                    .last_sequence = 20,
                                    .packets = 7,
                                    .root = std::string(32, 'r'),
                                    .signed_time_us = 1'700'000'000'123'456};
  const std::string archive_id(archive.bytes());
  const std::string session_id(session.bytes());
  const std::string bytes = said.SignedBytes(archive_id, session_id);
  EXPECT_TRUE(Verifies(key->public_key, bytes, digest.signature()));
  const auto differs = [&](const evidence::SourceStatement& other) {
    return !Verifies(key->public_key, other.SignedBytes(archive_id, session_id),
                     digest.signature());
  };
  evidence::SourceStatement other = said;
  other.side = 1;
  EXPECT_TRUE(differs(other));
  other = said;
  other.track_id = 4;
  EXPECT_TRUE(differs(other));
  other = said;
  other.first_sequence = 10;
  EXPECT_TRUE(differs(other));
  other = said;
  other.last_sequence = 21;
  EXPECT_TRUE(differs(other));
  other = said;
  other.packets = 8;
  EXPECT_TRUE(differs(other));
  other = said;
  other.root[31] = 's';
  EXPECT_TRUE(differs(other));
  other = said;
  ++other.signed_time_us;
  EXPECT_TRUE(differs(other));
  EXPECT_FALSE(Verifies(key->public_key,
                        said.SignedBytes(session_id, archive_id),
                        digest.signature()));
}

TEST(SourceSignerTest, SignsTheSameTheSameWay) {
  const auto key = pki::MakeSigningKey();
  const base::Uuid session = base::Uuid::Random();
  const auto signer =
      SourceSigner::Make(key->private_key_pem, base::Uuid::Random());
  api::v1::SourceDigest once = Digest();
  api::v1::SourceDigest again = Digest();
  (*signer)->Sign(session, api::v1::SIDE_CLERK, &once);
  (*signer)->Sign(session, api::v1::SIDE_CLERK, &again);
  EXPECT_EQ(once.SerializeAsString(), again.SerializeAsString());
}

TEST(SourceSignerTest, RefusesOtherKeys) {
  const std::string ecdsa =
      pki::MakeAuthority(base::Uuid::Random())->private_key_pem;
  const std::string sealed = *pki::EncryptPrivateKeyPem(
      pki::MakeSigningKey()->private_key_pem, "correct horse");
  for (const std::string& pem : {ecdsa, sealed, std::string("nothing")}) {
    EXPECT_EQ(SourceSigner::Make(pem, base::Uuid::Random()).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace diptych::gateway
