// Inclusion and consistency proofs of transparency-dev/merkle (RFC 6962), most
// of which must be refused.

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "archiver/evidence/tree_proof.h"
#include "tests/vectors/vector_files.h"

namespace diptych::evidence {
namespace {

using vectors::JsonFiles;
using vectors::ReadJson;

std::string Decoded(const nlohmann::json& text) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(text.get<std::string>(), &bytes)) << text;
  return bytes;
}

std::vector<std::string> Proof(const nlohmann::json& list) {
  std::vector<std::string> proof;
  if (list.is_null()) return proof;
  for (const auto& hash : list) proof.push_back(Decoded(hash));
  return proof;
}

// What each of the folder's cases comes to; how many were to be taken and how
// many refused is checked, so that nothing passes by not being read.
template <typename Verify>
void CheckAll(const std::string& folder, const Verify& verify) {
  int taken = 0;
  int refused = 0;
  for (const auto& path : JsonFiles(folder)) {
    SCOPED_TRACE(path.string());
    const nlohmann::json vector = ReadJson(path);
    const absl::Status status = verify(vector);
    const bool want_error = vector.value("wantErr", false);
    EXPECT_EQ(status.ok(), !want_error) << status;
    ++(want_error ? refused : taken);
  }
  EXPECT_GE(taken, 5);
  EXPECT_GE(refused, 80);
}

TEST(MerkleVectorsTest, Inclusion) {
  FIND_VECTORS(folder, "merkle/inclusion");
  CheckAll(folder, [](const nlohmann::json& vector) {
    return VerifyInclusion(Decoded(vector["leafHash"]),
                           vector["leafIdx"].get<uint64_t>(),
                           vector["treeSize"].get<uint64_t>(),
                           Proof(vector["proof"]), Decoded(vector["root"]));
  });
}

TEST(MerkleVectorsTest, Consistency) {
  FIND_VECTORS(folder, "merkle/consistency");
  CheckAll(folder, [](const nlohmann::json& vector) {
    return VerifyConsistency(vector["size1"].get<uint64_t>(),
                             vector["size2"].get<uint64_t>(),
                             Decoded(vector["root1"]), Decoded(vector["root2"]),
                             Proof(vector["proof"]));
  });
}

}  // namespace
}  // namespace diptych::evidence
