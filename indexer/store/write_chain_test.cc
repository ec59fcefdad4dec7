#include "indexer/store/write_chain.h"

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/slice.h>

namespace diptych::indexer {
namespace {

// What the row is after these changes.
std::string Merged(const std::optional<std::string>& row,
                   const std::deque<std::string>& changes) {
  const auto merge = NewChainMerge();
  std::vector<rocksdb::Slice> operands(changes.begin(), changes.end());
  const rocksdb::Slice key("writes");
  rocksdb::Slice existing;
  if (row.has_value()) existing = *row;
  const rocksdb::MergeOperator::MergeOperationInput input(
      key, row.has_value() ? &existing : nullptr, operands, nullptr);
  std::string value;
  rocksdb::Slice other;
  rocksdb::MergeOperator::MergeOperationOutput output(value, other);
  EXPECT_TRUE(merge->FullMergeV2(input, &output));
  return value;
}

TEST(WriteChainTest, CountsWritesThatFollowEachOther) {
  EXPECT_EQ(ChainEnd(std::nullopt), 0u);
  const std::string two = Merged(std::nullopt, {ChainLink(1), ChainLink(2)});
  EXPECT_EQ(ChainEnd(two), 2u);
  EXPECT_EQ(ChainEnd(Merged(two, {ChainLink(3)})), 3u);
}

TEST(WriteChainTest, AHoleStays) {
  const std::string holed = Merged(std::nullopt, {ChainLink(1), ChainLink(3)});
  EXPECT_EQ(ChainEnd(holed), std::nullopt);
  EXPECT_EQ(ChainEnd(Merged(holed, {ChainLink(2)})), std::nullopt);
  EXPECT_EQ(ChainEnd(Merged(holed, {ChainLink(1)})), std::nullopt);
  // Without its beginning, and twice.
  EXPECT_EQ(ChainEnd(Merged(std::nullopt, {ChainLink(2)})), std::nullopt);
  EXPECT_EQ(ChainEnd(Merged(std::nullopt, {ChainLink(1), ChainLink(1)})),
            std::nullopt);
  EXPECT_EQ(ChainEnd(std::string("short")), std::nullopt);
}

TEST(WriteChainTest, JoinsOnlyNeighbours) {
  const auto merge = NewChainMerge();
  std::string joined;
  ASSERT_TRUE(
      merge->PartialMerge("", ChainLink(4), ChainLink(5), &joined, nullptr));
  EXPECT_EQ(ChainEnd(Merged(Merged(std::nullopt,
                                   {ChainLink(1), ChainLink(2), ChainLink(3)}),
                            {joined})),
            5u);
  EXPECT_FALSE(
      merge->PartialMerge("", ChainLink(4), ChainLink(6), &joined, nullptr));
}

}  // namespace
}  // namespace diptych::indexer
