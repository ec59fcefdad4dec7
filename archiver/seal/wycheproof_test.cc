// Project Wycheproof's published vectors, which lie outside the repository:
// DIPTYCH_VECTORS names the folder.

#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/aead.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {
namespace {

using nlohmann::json;

// Null where the folder or the file is absent.
json ReadVectors(const std::string& name) {
  const char* const folder = std::getenv("DIPTYCH_VECTORS");
  if (folder == nullptr) return nullptr;
  std::ifstream file(absl::StrCat(folder, "/wycheproof/", name));
  if (!file) return nullptr;
  return json::parse(file);
}

std::string Bytes(const json& vector, const char* field) {
  return absl::HexStringToBytes(vector.at(field).get<std::string>());
}

TEST(WycheproofTest, XChaCha20Poly1305) {
  const json vectors = ReadVectors("xchacha20_poly1305_test.json");
  if (vectors.is_null()) GTEST_SKIP() << "no vectors: set DIPTYCH_VECTORS";
  ASSERT_TRUE(InitializeCrypto().ok());
  int opened = 0;
  int refused = 0;
  for (const json& group : vectors.at("testGroups")) {
    for (const json& vector : group.at("tests")) {
      SCOPED_TRACE(absl::StrCat("tcId ", vector.at("tcId").get<int>()));
      const auto key = SecretKey::FromBytes(Bytes(vector, "key"));
      ASSERT_TRUE(key.ok());
      const absl::StatusOr<std::string> plain =
          AeadOpen(*key, Bytes(vector, "aad"),
                   absl::StrCat(Bytes(vector, "iv"), Bytes(vector, "ct"),
                                Bytes(vector, "tag")));
      if (vector.at("result") == "valid") {
        ASSERT_TRUE(plain.ok()) << plain.status();
        EXPECT_EQ(*plain, Bytes(vector, "msg"));
        // What we seal ourselves has the same form and opens as well.
        EXPECT_EQ(*AeadOpen(*key, Bytes(vector, "aad"),
                            AeadSeal(*key, Bytes(vector, "aad"), *plain)),
                  *plain);
        ++opened;
      } else {
        EXPECT_FALSE(plain.ok());
        ++refused;
      }
    }
  }
  EXPECT_GT(opened, 100);
  EXPECT_GT(refused, 50);
}

// What crypto_box_seal stands on.
TEST(WycheproofTest, X25519) {
  const json vectors = ReadVectors("x25519_test.json");
  if (vectors.is_null()) GTEST_SKIP() << "no vectors: set DIPTYCH_VECTORS";
  ASSERT_TRUE(InitializeCrypto().ok());
  int agreed = 0;
  int refused = 0;
  for (const json& group : vectors.at("testGroups")) {
    for (const json& vector : group.at("tests")) {
      SCOPED_TRACE(absl::StrCat("tcId ", vector.at("tcId").get<int>()));
      const std::string shared = Bytes(vector, "shared");
      const std::string public_key = Bytes(vector, "public");
      const std::string private_key = Bytes(vector, "private");
      ASSERT_EQ(public_key.size(), crypto_scalarmult_BYTES);
      ASSERT_EQ(private_key.size(), crypto_scalarmult_SCALARBYTES);
      std::string out(crypto_scalarmult_BYTES, '\0');
      const int failed = crypto_scalarmult(
          reinterpret_cast<unsigned char*>(out.data()),
          reinterpret_cast<const unsigned char*>(private_key.data()),
          reinterpret_cast<const unsigned char*>(public_key.data()));
      if (failed == 0) {
        EXPECT_NE(vector.at("result"), "invalid");
        EXPECT_EQ(out, shared);
        ++agreed;
      } else {
        // Only points of small order, which give away nothing and no secret.
        EXPECT_NE(vector.at("result"), "valid");
        EXPECT_EQ(shared, std::string(crypto_scalarmult_BYTES, '\0'));
        ++refused;
      }
    }
  }
  EXPECT_GT(agreed, 200);
  EXPECT_GT(refused, 10);
}

}  // namespace
}  // namespace diptych::seal
