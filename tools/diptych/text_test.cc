#include "tools/diptych/text.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace diptych::cli {
namespace {

using ::testing::ElementsAre;

TEST(PrintableTest, KeepsTextAndTakesAwayControl) {
  EXPECT_EQ(Printable("a b \u00e9 居委会 \U0001F600"),
            "a b \u00e9 居委会 \U0001F600");
  EXPECT_EQ(Printable("\033[31mred"), "\uFFFD[31mred");
  EXPECT_EQ(Printable("a\nb\tc\x7f"), "a\uFFFDb\uFFFDc\uFFFD");
  EXPECT_EQ(Printable("\u009b2J"), "\uFFFD2J");
  EXPECT_EQ(Printable("\u202eabc"), "\uFFFDabc");
}

TEST(PrintableTest, MendsBrokenUtf8) {
  EXPECT_EQ(Printable("a\xff"), "a\uFFFD");
  EXPECT_EQ(Printable("\xe5\xb1"), "\uFFFD\uFFFD");
  // Overlong, surrogate, beyond the last.
  EXPECT_EQ(Printable("\xc0\xaf"), "\uFFFD\uFFFD");
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Printable("\xf5\x80\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(CountedTest, OneAndMany) {
  EXPECT_EQ(Counted(0, "file"), "0 files");
  EXPECT_EQ(Counted(1, "file"), "1 file");
  EXPECT_EQ(Counted(2, "file"), "2 files");
}

TEST(DisplayWidthTest, CountsColumns) {
  EXPECT_EQ(DisplayWidth("abc"), 3u);
  EXPECT_EQ(DisplayWidth("居委会"), 6u);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1u);
}

TEST(TableTest, LinesUpColumns) {
  Table table({"KEY", "N", "VALUE"});
  EXPECT_TRUE(table.empty());
  table.AddRow({"item", "1", "a"});
  table.AddRow({"办件", "20", "a longer value"});
  EXPECT_FALSE(table.empty());
  EXPECT_THAT(table.Render(0), ElementsAre("KEY   N   VALUE",  //
                                           "item  1   a",      //
                                           "办件  20  a longer value"));
}

TEST(TableTest, FitsTheTerminal) {
  Table table({"KEY", "VALUE"});
  table.AddRow({"item", "居委会居委会"});
  for (const size_t width : {1, 8, 11, 12, 13, 18}) {
    for (const std::string& line : table.Render(width)) {
      EXPECT_LE(DisplayWidth(line), width) << line;
    }
  }
  EXPECT_THAT(table.Render(12), ElementsAre("KEY   VALUE", "item  居委…"));
  EXPECT_THAT(table.Render(18),
              ElementsAre("KEY   VALUE", "item  居委会居委会"));
}

TEST(TableTest, ACellCannotBreakItsLine) {
  Table table({"A", "B"});
  table.AddRow({"x\ny", "\033[2J"});
  EXPECT_THAT(table.Render(0), ElementsAre("A    B", "x\uFFFDy  \uFFFD[2J"));
}

}  // namespace
}  // namespace diptych::cli
