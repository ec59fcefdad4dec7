// Wycheproof's Ed25519 signatures, right and wrong.

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "archiver/seal/signing.h"
#include "tests/vectors/vector_files.h"

namespace diptych::seal {
namespace {

std::string Bytes(const nlohmann::json& hex) {
  return absl::HexStringToBytes(hex.get<std::string>());
}

TEST(Ed25519VectorsTest, Wycheproof) {
  FIND_VECTORS(folder, "wycheproof");
  const nlohmann::json file = vectors::ReadJson(folder + "/ed25519_test.json");
  int valid = 0;
  int invalid = 0;
  for (const auto& group : file["testGroups"]) {
    const std::string public_key = Bytes(group["publicKey"]["pk"]);
    for (const auto& test : group["tests"]) {
      SCOPED_TRACE(test["tcId"].dump() + " " + test["comment"].dump());
      const bool want = test["result"] == "valid";
      EXPECT_EQ(
          VerifySignature(public_key, Bytes(test["msg"]), Bytes(test["sig"])),
          want);
      ++(want ? valid : invalid);
    }
  }
  EXPECT_EQ(valid + invalid, file["numberOfTests"].get<int>());
  EXPECT_GT(valid, 50);
  EXPECT_GT(invalid, 50);
}

}  // namespace
}  // namespace diptych::seal
