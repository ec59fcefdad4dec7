#include "indexer/store/write_chain.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <rocksdb/merge_operator.h>
#include <rocksdb/slice.h>

#include "absl/strings/string_view.h"
#include "indexer/store/keys.h"

namespace diptych::indexer {
namespace {

// A run of numbers, both in it.
struct Range {
  uint64_t first = 0;
  uint64_t last = 0;
};

std::optional<Range> Decode(absl::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  return Range{ReadBigEndian64(bytes), ReadBigEndian64(bytes.substr(8))};
}

std::string Encode(const Range& range) {
  std::string bytes;
  AppendBigEndian64(range.first, &bytes);
  AppendBigEndian64(range.last, &bytes);
  return bytes;
}

std::optional<Range> Decode(const rocksdb::Slice& bytes) {
  return Decode(absl::string_view(bytes.data(), bytes.size()));
}

class ChainMerge final : public rocksdb::MergeOperator {
 public:
  const char* Name() const override { return "diptych.write_chain"; }

  // A hole leaves an empty value, which no later link mends.
  bool FullMergeV2(const MergeOperationInput& input,
                   MergeOperationOutput* output) const override {
    output->new_value.clear();
    std::optional<Range> chain = Range{1, 0};
    if (input.existing_value != nullptr) chain = Decode(*input.existing_value);
    for (const rocksdb::Slice& operand : input.operand_list) {
      const std::optional<Range> link = Decode(operand);
      if (!chain.has_value() || !link.has_value() ||
          link->first != chain->last + 1) {
        return true;
      }
      chain->last = link->last;
    }
    if (chain.has_value()) output->new_value = Encode(*chain);
    return true;
  }

  bool PartialMerge(const rocksdb::Slice& /*key*/, const rocksdb::Slice& left,
                    const rocksdb::Slice& right, std::string* merged,
                    rocksdb::Logger* /*logger*/) const override {
    const std::optional<Range> a = Decode(left);
    const std::optional<Range> b = Decode(right);
    if (!a.has_value() || !b.has_value() || b->first != a->last + 1) {
      return false;
    }
    *merged = Encode({a->first, b->last});
    return true;
  }
};

}  // namespace

std::string ChainLink(uint64_t number) { return Encode({number, number}); }

std::optional<uint64_t> ChainEnd(const std::optional<std::string>& row) {
  if (!row.has_value()) return 0;
  const std::optional<Range> chain = Decode(absl::string_view(*row));
  if (!chain.has_value() || chain->first != 1) return std::nullopt;
  return chain->last;
}

std::shared_ptr<rocksdb::MergeOperator> NewChainMerge() {
  return std::make_shared<ChainMerge>();
}

}  // namespace diptych::indexer
