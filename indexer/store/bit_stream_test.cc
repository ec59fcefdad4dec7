#include "indexer/store/bit_stream.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/string_view.h"
#include "indexer/store/posting_test_data.h"

namespace diptych::indexer {
namespace {

TEST(BitStreamTest, NumbersOfAnyWidthComeBack) {
  PostingDice dice(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::pair<uint64_t, int>> numbers;
    std::string bytes;
    BitWriter writer(&bytes);
    for (uint64_t i = dice.Below(40); i > 0; --i) {
      const int width = static_cast<int>(dice.Below(57));
      numbers.emplace_back(dice.Below(uint64_t{1} << width), width);
      writer.Write(numbers.back().first, width);
    }
    writer.Finish();
    // Without room behind it, so that a sanitizer sees a read there.
    const std::vector<char> copy(bytes.begin(), bytes.end());
    BitReader reader(absl::string_view(copy.data(), copy.size()));
    for (const auto& [number, width] : numbers) {
      EXPECT_EQ(reader.Read(width), number);
    }
    EXPECT_LE(reader.position(), bytes.size() * 8);
  }
}

TEST(BitStreamTest, PastTheEndLieZeros) {
  BitReader reader("\xff");
  EXPECT_EQ(reader.Read(12), 0xffu);
  EXPECT_EQ(reader.Read(BitReader::kPeek_bits), 0u);
  reader.MoveTo(4);
  EXPECT_EQ(reader.Read(8), 0xfu);
  BitReader nothing("");
  EXPECT_EQ(nothing.Read(8), 0u);
}

TEST(BitStreamTest, TheLowestBitIsTheFirst) {
  std::string bytes;
  BitWriter writer(&bytes);
  writer.Write(1, 1);
  writer.WriteUnary(2);
  writer.Write(5, 3);
  writer.WriteUnary(0);
  writer.Write(0x12, 8);
  writer.Finish();
  // 1, then 001, then 101 from its low end, 1.
  EXPECT_EQ(bytes, "\xd9\x12");
}

}  // namespace
}  // namespace diptych::indexer
