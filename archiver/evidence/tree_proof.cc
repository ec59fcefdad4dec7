#include "archiver/evidence/tree_proof.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/merkle.h"

namespace diptych::evidence {
namespace {

absl::Status CheckHash(absl::string_view hash) {
  if (hash.size() == base::kSha256_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError("a hash has 32 bytes");
}

absl::Status CheckHashes(const std::vector<std::string>& proof) {
  for (const std::string& hash : proof) RETURN_IF_ERROR(CheckHash(hash));
  return absl::OkStatus();
}

absl::Status WrongLength() {
  return absl::InvalidArgumentError(
      "the proof has more or fewer hashes than a tree of this size needs");
}

}  // namespace

absl::StatusOr<std::string> RootFromInclusion(
    absl::string_view leaf_hash, uint64_t index, uint64_t size,
    const std::vector<std::string>& proof) {
  if (index >= size) {
    return absl::InvalidArgumentError("the leaf lies outside the tree");
  }
  RETURN_IF_ERROR(CheckHash(leaf_hash));
  RETURN_IF_ERROR(CheckHashes(proof));
  uint64_t node = index;
  uint64_t last = size - 1;
  std::string root(leaf_hash);
  for (const std::string& hash : proof) {
    if (last == 0) return WrongLength();
    if ((node & 1) != 0 || node == last) {
      root = NodeHash(hash, root);
      // Levels at which it has no sibling.
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      root = NodeHash(root, hash);
    }
    node >>= 1;
    last >>= 1;
  }
  if (last != 0) return WrongLength();
  return root;
}

absl::Status VerifyInclusion(absl::string_view leaf_hash, uint64_t index,
                             uint64_t size,
                             const std::vector<std::string>& proof,
                             absl::string_view root) {
  ASSIGN_OR_RETURN(const std::string computed,
                   RootFromInclusion(leaf_hash, index, size, proof));
  if (computed != root) {
    return absl::DataLossError("the proof does not lead to the tree's root");
  }
  return absl::OkStatus();
}

absl::Status VerifyConsistency(uint64_t old_size, uint64_t new_size,
                               absl::string_view old_root,
                               absl::string_view new_root,
                               const std::vector<std::string>& proof) {
  if (old_size == 0 || old_size > new_size) {
    return absl::InvalidArgumentError(
        "a proof goes from a tree with leaves to one that is not smaller");
  }
  if (old_size == new_size) {
    if (!proof.empty()) return WrongLength();
    if (old_root != new_root) {
      return absl::DataLossError("two trees of one size have two roots");
    }
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(CheckHashes(proof));
  if (proof.empty()) return WrongLength();

  uint64_t node = old_size - 1;
  uint64_t last = new_size - 1;
  while ((node & 1) != 0) {
    node >>= 1;
    last >>= 1;
  }
  // An old tree that is perfect is a node of the new one, and not sent.
  size_t next = 0;
  std::string from_old;
  if (node == 0) {
    RETURN_IF_ERROR(CheckHash(old_root));
    from_old = std::string(old_root);
  } else {
    from_old = proof[next++];
  }
  std::string from_new = from_old;
  for (; next < proof.size(); ++next) {
    if (last == 0) return WrongLength();
    const std::string& hash = proof[next];
    if ((node & 1) != 0 || node == last) {
      from_old = NodeHash(hash, from_old);
      from_new = NodeHash(hash, from_new);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      from_new = NodeHash(from_new, hash);
    }
    node >>= 1;
    last >>= 1;
  }
  if (last != 0) return WrongLength();
  if (from_old != old_root) {
    return absl::DataLossError("the proof does not lead to the older root");
  }
  if (from_new != new_root) {
    return absl::DataLossError("the proof does not lead to the newer root");
  }
  return absl::OkStatus();
}

}  // namespace diptych::evidence
