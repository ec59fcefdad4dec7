#ifndef ARCHIVER_EVIDENCE_TREE_PROOF_H_
#define ARCHIVER_EVIDENCE_TREE_PROOF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::evidence {

// Proofs about trees of RFC 6962 (sections 2.1.1 and 2.1.2), verified as RFC
// 9162 has it (sections 2.1.3.2 and 2.1.4.2). Hashes are 32 bytes.

// The root that a leaf and its inclusion proof give. INVALID_ARGUMENT if the
// index lies outside the tree or the proof has not as many hashes as it must.
absl::StatusOr<std::string> RootFromInclusion(
    absl::string_view leaf_hash, uint64_t index, uint64_t size,
    const std::vector<std::string>& proof);

// OK if the tree of `size` leaves with `root` has the leaf at `index`;
// DATA_LOSS if the proof gives another root, INVALID_ARGUMENT as above.
absl::Status VerifyInclusion(absl::string_view leaf_hash, uint64_t index,
                             uint64_t size,
                             const std::vector<std::string>& proof,
                             absl::string_view root);

// OK if the tree of `old_size` leaves with `old_root` is the beginning of that
// with `new_size` and `new_root`; DATA_LOSS if it is not, INVALID_ARGUMENT if
// the proof can't be of these sizes. Of an empty tree nothing is proven:
// INVALID_ARGUMENT.
absl::Status VerifyConsistency(uint64_t old_size, uint64_t new_size,
                               absl::string_view old_root,
                               absl::string_view new_root,
                               const std::vector<std::string>& proof);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TREE_PROOF_H_
