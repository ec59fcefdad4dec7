#ifndef ARCHIVER_EVIDENCE_MERKLE_H_
#define ARCHIVER_EVIDENCE_MERKLE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::evidence {

// Trees of RFC 6962, section 2.1, over SHA-256. Hashes are 32 bytes.

std::string LeafHash(absl::string_view data);
std::string NodeHash(absl::string_view left, absl::string_view right);
// Of the tree without leaves.
std::string EmptyRoot();

// The root of a tree that grows at its end: keeps no more than one hash for
// each bit of its size. Not thread-safe.
class GrowingTree {
 public:
  void Add(std::string leaf_hash);

  uint64_t size() const { return size_; }
  std::string Root() const;

 private:
  // Roots of the perfect trees that the leaves fall into, largest first.
  std::vector<std::string> perfect_;
  uint64_t size_ = 0;
};

std::string RootOf(const std::vector<std::string>& leaf_hashes);

// The hashes that, with the leaves [first, first + count), make the root of the
// tree over `leaf_hashes` (FORMAT.md, "Ranges of a tree").
// REQUIRES: the range lies within the leaves.
std::vector<std::string> ProveRange(const std::vector<std::string>& leaf_hashes,
                                    size_t first, size_t count);

// The root of a tree of `size` leaves, of which `leaf_hashes` are those from
// `first` on. INVALID_ARGUMENT if `others` are too few or too many, one has not
// 32 bytes, or the range does not lie within the tree. Bounded by the lengths
// of what it is given, whatever `size` says.
absl::StatusOr<std::string> RootFromRange(
    uint64_t size, uint64_t first, const std::vector<std::string>& leaf_hashes,
    const std::vector<std::string>& others);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_MERKLE_H_
