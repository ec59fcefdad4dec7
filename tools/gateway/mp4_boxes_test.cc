#include "tools/gateway/mp4_boxes.h"

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace diptych::gateway {
namespace {

std::string Box(const std::string& type, uint32_t size,
                const std::string& content) {
  std::string box;
  for (int shift = 24; shift >= 0; shift -= 8) {
    box.push_back(static_cast<char>(size >> shift));
  }
  return box + type + content;
}

std::vector<std::string> DamageOf(const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/boxes.mp4");
  std::ofstream(path, std::ios::binary) << content;
  return FindMp4Damage(path);
}

const std::string kType = Box("ftyp", 12, "isom");

TEST(FindMp4DamageTest, WholeFilesHaveNone) {
  EXPECT_TRUE(DamageOf(kType + Box("mdat", 11, "abc")).empty());
  // To the end of the file, and with a size of 64 bits.
  EXPECT_TRUE(DamageOf(kType + Box("mdat", 0, "abc")).empty());
  EXPECT_TRUE(
      DamageOf(kType +
               Box("mdat", 1, std::string("\0\0\0\0\0\0\0\x13", 8) + "abc"))
          .empty());
}

TEST(FindMp4DamageTest, NamesTheBoxThatIsCut) {
  const auto damage = DamageOf(kType + Box("mdat", 100, "abc"));
  ASSERT_EQ(damage.size(), 1u);
  EXPECT_EQ(damage[0],
            "byte 12: the box mdat says that it has 100 bytes, but the file "
            "ends after 11");
  EXPECT_EQ(DamageOf(kType + "abc").size(), 1u);
  EXPECT_EQ(DamageOf(kType + Box("mdat", 4, "abc")).size(), 1u);
  EXPECT_EQ(DamageOf(kType + std::string(16, '\xff')).size(), 1u);
}

TEST(FindMp4DamageTest, OtherFilesAreNotItsAffair) {
  EXPECT_TRUE(DamageOf("\x1a\x45\xdf\xa3 this is Matroska").empty());
  EXPECT_TRUE(DamageOf("").empty());
  EXPECT_TRUE(FindMp4Damage("/no/such/file").empty());
}

}  // namespace
}  // namespace diptych::gateway
