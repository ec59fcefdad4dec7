#include "tools/diptych/verify/bag.h"

#include <string>

#include <gtest/gtest.h>

namespace diptych::verify {
namespace {

const std::string kHash(64, 'a');
const std::string kOtherHash(64, 'b');

TEST(BagTest, WritesWhatSha256sumReads) {
  EXPECT_EQ(ManifestText({{"data/b", kOtherHash}, {"data/a", kHash}}),
            kHash + "  data/a\n" + kOtherHash + "  data/b\n");
}

TEST(BagTest, SaysWhoAndWhen) {
  BagInfo info;
  info.archive = "A";
  info.session = "S";
  info.access_time_us = 1'767'225'599'000'000;  // The last second of 2025.
  info.payload_bytes = 12;
  info.payload_files = 3;
  EXPECT_EQ(BagInfoText(info),
            "Source-Organization: diptych/A\nBagging-Date: 2025-12-31\n"
            "External-Identifier: S\nPayload-Oxum: 12.3\n");
}

TEST(BagTest, NamesTheFileThatDiffers) {
  const FileHashes there = {{"data/a", kHash}, {"data/b", kHash}};
  EXPECT_EQ(
      ManifestDifference(
          "m.txt", kHash + "  data/a\n" + kOtherHash + "  data/b\n", there),
      "data/b: is not what m.txt says");
  EXPECT_EQ(ManifestDifference("m.txt", kHash + "  data/a\n", there),
            "data/b: m.txt does not name it");
  EXPECT_EQ(ManifestDifference(
                "m.txt", ManifestText(there) + kHash + "  data/c\n", there),
            "data/c: is missing (m.txt names it)");
  // The same words in another order are another text.
  EXPECT_EQ(ManifestDifference(
                "m.txt", kHash + "  data/b\n" + kHash + "  data/a\n", there),
            "m.txt: is not written as this format has it (one line a file, "
            "sorted by path)");
}

}  // namespace
}  // namespace diptych::verify
