#include "archiver/evidence/merkle.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"

namespace diptych::evidence {
namespace {

// The largest power of two below `size`. REQUIRES: size > 1.
uint64_t SplitOf(uint64_t size) {
  uint64_t split = 1;
  while (split < size - split) split *= 2;
  return split;
}

std::string RootOfRange(const std::vector<std::string>& leaf_hashes, size_t low,
                        size_t high) {
  if (low == high) return EmptyRoot();
  if (high - low == 1) return leaf_hashes[low];
  const size_t middle = low + SplitOf(high - low);
  return NodeHash(RootOfRange(leaf_hashes, low, middle),
                  RootOfRange(leaf_hashes, middle, high));
}

// One walk over the shape of a tree, as FORMAT.md has it.
class RangeWalk {
 public:
  RangeWalk(uint64_t first, const std::vector<std::string>& leaf_hashes,
            const std::vector<std::string>& others)
      : first_(first), leaf_hashes_(leaf_hashes), others_(others) {}

  absl::StatusOr<std::string> Hash(uint64_t low, uint64_t high) {
    const uint64_t end = first_ + leaf_hashes_.size();
    if (high <= first_ || low >= end) {
      if (used_ == others_.size()) {
        return absl::InvalidArgumentError("a hash of the tree is missing");
      }
      if (others_[used_].size() != base::kSha256_bytes) {
        return absl::InvalidArgumentError("a hash has 32 bytes");
      }
      return others_[used_++];
    }
    if (high - low == 1) return leaf_hashes_[low - first_];
    const uint64_t middle = low + SplitOf(high - low);
    ASSIGN_OR_RETURN(const std::string left, Hash(low, middle));
    ASSIGN_OR_RETURN(const std::string right, Hash(middle, high));
    return NodeHash(left, right);
  }

  bool all_used() const { return used_ == others_.size(); }

 private:
  const uint64_t first_;
  const std::vector<std::string>& leaf_hashes_;
  const std::vector<std::string>& others_;
  size_t used_ = 0;
};

void Prove(const std::vector<std::string>& leaf_hashes, size_t first,
           size_t end, size_t low, size_t high,
           std::vector<std::string>* others) {
  if (high <= first || low >= end) {
    others->push_back(RootOfRange(leaf_hashes, low, high));
    return;
  }
  if (high - low == 1) return;
  const size_t middle = low + SplitOf(high - low);
  Prove(leaf_hashes, first, end, low, middle, others);
  Prove(leaf_hashes, first, end, middle, high, others);
}

}  // namespace

std::string LeafHash(absl::string_view data) {
  return base::Sha256Hasher().AddU8(0).Add(data).Finish();
}

std::string NodeHash(absl::string_view left, absl::string_view right) {
  return base::Sha256Hasher().AddU8(1).Add(left).Add(right).Finish();
}

std::string EmptyRoot() { return base::Sha256(""); }

void GrowingTree::Add(std::string leaf_hash) {
  // As many full trees end here as the size has ones at its end.
  for (uint64_t bits = size_; (bits & 1) != 0; bits >>= 1) {
    leaf_hash = NodeHash(perfect_.back(), leaf_hash);
    perfect_.pop_back();
  }
  perfect_.push_back(std::move(leaf_hash));
  ++size_;
}

std::string GrowingTree::Root() const {
  if (perfect_.empty()) return EmptyRoot();
  std::string root = perfect_.back();
  for (size_t i = perfect_.size() - 1; i > 0; --i) {
    root = NodeHash(perfect_[i - 1], root);
  }
  return root;
}

std::string RootOf(const std::vector<std::string>& leaf_hashes) {
  return RootOfRange(leaf_hashes, 0, leaf_hashes.size());
}

std::vector<std::string> ProveRange(const std::vector<std::string>& leaf_hashes,
                                    size_t first, size_t count) {
  std::vector<std::string> others;
  Prove(leaf_hashes, first, first + count, 0, leaf_hashes.size(), &others);
  return others;
}

absl::StatusOr<std::string> RootFromRange(
    uint64_t size, uint64_t first, const std::vector<std::string>& leaf_hashes,
    const std::vector<std::string>& others) {
  if (leaf_hashes.empty() || first > size ||
      leaf_hashes.size() > size - first) {
    return absl::InvalidArgumentError("the range lies outside the tree");
  }
  RangeWalk walk(first, leaf_hashes, others);
  ASSIGN_OR_RETURN(std::string root, walk.Hash(0, size));
  if (!walk.all_used()) {
    return absl::InvalidArgumentError("there are hashes of no place");
  }
  return root;
}

}  // namespace diptych::evidence
