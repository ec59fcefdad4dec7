#include "indexer/store/varint.h"

#include <cstdint>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "absl/strings/string_view.h"

namespace diptych::indexer {
namespace {

TEST(VarintTest, AnyNumberComesBack) {
  std::string bytes;
  for (int shift = 0; shift < 64; ++shift) {
    AppendVarint((uint64_t{1} << shift) - 1, &bytes);
    AppendVarint(uint64_t{1} << shift, &bytes);
  }
  AppendVarint(std::numeric_limits<uint64_t>::max(), &bytes);
  for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1}, int64_t{-64},
                              int64_t{64}, std::numeric_limits<int64_t>::min(),
                              std::numeric_limits<int64_t>::max()}) {
    AppendSignedVarint(value, &bytes);
  }
  VarintReader reader(bytes);
  for (int shift = 0; shift < 64; ++shift) {
    EXPECT_EQ(reader.ReadVarint(), (uint64_t{1} << shift) - 1);
    EXPECT_EQ(reader.ReadVarint(), uint64_t{1} << shift);
  }
  EXPECT_EQ(reader.ReadVarint(), std::numeric_limits<uint64_t>::max());
  for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1}, int64_t{-64},
                              int64_t{64}, std::numeric_limits<int64_t>::min(),
                              std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(reader.ReadSigned(), value);
  }
  EXPECT_TRUE(reader.AtGoodEnd());
}

TEST(VarintTest, SmallOnesOfEitherSignTakeOneByte) {
  for (const int64_t value : {-64, -1, 0, 1, 63}) {
    std::string bytes;
    AppendSignedVarint(value, &bytes);
    EXPECT_EQ(bytes.size(), 1u) << value;
  }
}

TEST(VarintTest, WhatIsTooShortOrTooLongFails) {
  const std::string endless(11, '\xff');
  const std::string too_large = std::string(9, '\xff') + '\x02';
  for (const absl::string_view bytes :
       {absl::string_view(), absl::string_view("\x80"),
        absl::string_view(endless), absl::string_view(too_large)}) {
    VarintReader reader(bytes);
    EXPECT_EQ(reader.ReadVarint(), 0u);
    EXPECT_FALSE(reader.ok());
    EXPECT_EQ(reader.ReadByte(), 0u);
    EXPECT_FALSE(reader.AtGoodEnd());
  }
  std::string large;
  AppendVarint(uint64_t{1} << 32, &large);
  VarintReader reader(large);
  EXPECT_EQ(reader.ReadVarint32(), 0u);
  EXPECT_FALSE(reader.ok());
  VarintReader few("ab");
  EXPECT_EQ(few.ReadBytes(3), "");
  EXPECT_FALSE(few.ok());
}

}  // namespace
}  // namespace diptych::indexer
