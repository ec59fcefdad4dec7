#include "archiver/base/safe_name.h"

#include <string>

#include <gtest/gtest.h>

namespace diptych::base {
namespace {

TEST(SafeNameTest, KeepsWhatNoPathIsMadeOf) {
  EXPECT_EQ(SafeName("Form-7_b.png"), "Form-7_b.png");
  EXPECT_EQ(SafeName("../etc/passwd"), "_._etc_passwd");
  EXPECT_EQ(SafeName(".profile"), "_profile");
  EXPECT_EQ(SafeName("a b\n"), "a_b_");
  // Two bytes, two marks.
  EXPECT_EQ(SafeName("\xc3\xa9.pdf"), "__.pdf");
  EXPECT_EQ(SafeName(""), "");
  EXPECT_EQ(SafeName(std::string(300, 'x')).size(), 100u);
}

}  // namespace
}  // namespace diptych::base
