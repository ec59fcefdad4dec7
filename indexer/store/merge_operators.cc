#include "indexer/store/merge_operators.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/merge_operator.h>
#include <rocksdb/slice.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "indexer/store/chunk_pack.h"
#include "indexer/store/posting_merge.h"

namespace diptych::indexer {
namespace {

using Views = std::vector<absl::string_view>;

absl::string_view ToView(const rocksdb::Slice& slice) {
  return absl::string_view(slice.data(), slice.size());
}

// Oldest first.
template <typename Slices>
Views ToViews(const Slices& slices) {
  Views views;
  views.reserve(slices.size() + 1);
  for (const rocksdb::Slice& slice : slices) views.push_back(ToView(slice));
  return views;
}

// False, and nothing in `out`, if it failed. RocksDB has no room for a reason.
bool Take(absl::StatusOr<std::string> merged, std::string* out) {
  if (!merged.ok()) return false;
  *out = *std::move(merged);
  return true;
}

class PostingMerge final : public rocksdb::MergeOperator {
 public:
  const char* Name() const override { return "diptych.PostingMerge"; }

  bool FullMergeV2(const MergeOperationInput& in,
                   MergeOperationOutput* out) const override {
    const absl::string_view base = in.existing_value == nullptr
                                       ? absl::string_view()
                                       : ToView(*in.existing_value);
    return Take(MergePostingBlock(base, ToViews(in.operand_list)),
                &out->new_value);
  }

  bool PartialMergeMulti(const rocksdb::Slice& /*key*/,
                         const std::deque<rocksdb::Slice>& operands,
                         std::string* new_value,
                         rocksdb::Logger* /*logger*/) const override {
    return Take(MergePostingChanges(ToViews(operands)), new_value);
  }
};

class ChunkMerge final : public rocksdb::MergeOperator {
 public:
  const char* Name() const override { return "diptych.ChunkMerge"; }

  bool FullMergeV2(const MergeOperationInput& in,
                   MergeOperationOutput* out) const override {
    Views packs = ToViews(in.operand_list);
    if (in.existing_value != nullptr) {
      packs.insert(packs.begin(), ToView(*in.existing_value));
    }
    return Take(MergeChunkPacks(packs), &out->new_value);
  }

  bool PartialMergeMulti(const rocksdb::Slice& /*key*/,
                         const std::deque<rocksdb::Slice>& operands,
                         std::string* new_value,
                         rocksdb::Logger* /*logger*/) const override {
    return Take(MergeChunkPacks(ToViews(operands)), new_value);
  }
};

}  // namespace

std::shared_ptr<rocksdb::MergeOperator> NewPostingMerge() {
  return std::make_shared<PostingMerge>();
}

std::shared_ptr<rocksdb::MergeOperator> NewChunkMerge() {
  return std::make_shared<ChunkMerge>();
}

}  // namespace diptych::indexer
