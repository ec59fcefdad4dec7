#include "tools/pki/signing_key.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "archiver/base/ids.h"
#include "tools/pki/pki.h"

namespace diptych::pki {
namespace {

using ::testing::StartsWith;

// RFC 8410, section 10.3.
constexpr char kPublishedPem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
    "-----END PRIVATE KEY-----\n";

TEST(SigningKeyTest, ReadsThePublishedExample) {
  const auto key = ParseSigningKey(kPublishedPem);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(absl::BytesToHexString(key->public_key),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
  EXPECT_EQ(key->private_key_pem, kPublishedPem);
}

TEST(SigningKeyTest, MakesOneThatReadsBack) {
  const auto made = MakeSigningKey();
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(made->private_key_pem, StartsWith("-----BEGIN PRIVATE KEY-----"));
  const auto read = ParseSigningKey(made->private_key_pem);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->public_key, made->public_key);
  EXPECT_EQ(made->public_key.size(), 32u);
  EXPECT_NE(MakeSigningKey()->public_key, made->public_key);
}

TEST(SigningKeyTest, RefusesOtherKeys) {
  const Credential certificate = *MakeAuthority(base::Uuid::Random());
  for (const std::string& pem :
       {certificate.private_key_pem, certificate.certificate_pem,
        *EncryptPrivateKeyPem(kPublishedPem, "correct horse"),
        std::string("nothing"), std::string()}) {
    EXPECT_EQ(ParseSigningKey(pem).status().code(),
              absl::StatusCode::kInvalidArgument)
        << pem;
  }
}

}  // namespace
}  // namespace diptych::pki
