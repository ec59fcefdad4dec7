#include "tools/diptych/offset.h"

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace diptych::cli {
namespace {

TEST(OffsetTest, AllForms) {
  for (const auto& [text, offset_us] : {std::pair<std::string, int64_t>{"0", 0},
                                        {"90s", 90'000'000},
                                        {"1500ms", 1'500'000},
                                        {"2m30s", 150'000'000},
                                        {"1h", 3'600'000'000},
                                        {"2.5", 2'500'000},
                                        {"0.000001", 1},
                                        {"00:01:30", 90'000'000},
                                        {"01:30.250", 90'250'000},
                                        {"36:00:00", 129'600'000'000},
                                        {"10:00", 600'000'000}}) {
    const auto parsed = ParseOffset_us(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, offset_us) << text;
  }
}

TEST(OffsetTest, NothingElse) {
  for (const char* text : {"",       " ",
                           "-1",     "-5s",
                           "+5s",    "abc",
                           "5x",     "1:2:3:4",
                           "00:60",  "00:61:00",
                           "1.5:00", ":30",
                           "30:",    "1e3",
                           "0x10",   "inf",
                           "nan",    "1.2.3",
                           ".",      "5 s",
                           "241h",   "99999999999999999999"}) {
    EXPECT_EQ(ParseOffset_us(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(TimePointTest, OffsetsAndTimes) {
  EXPECT_EQ(std::get<int64_t>(*ParseTimePoint("90s")), 90'000'000);
  const absl::Time expected = absl::FromUnixSeconds(1'793'522'400);
  for (const char* text : {"2026-11-01T08:40:00Z", "2026-11-01t08:40:00z",
                           "2026-11-01T16:40:00+08:00"}) {
    const auto parsed = ParseTimePoint(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(std::get<absl::Time>(*parsed), expected) << text;
  }
  for (const char* text :
       {"2026-11-01", "2026-11-01T08:30", "T", "infinite-future"}) {
    EXPECT_FALSE(ParseTimePoint(text).ok()) << text;
  }
}

TEST(ShareTest, Percents) {
  EXPECT_EQ(*ParseShare("5%"), 0.05);
  EXPECT_EQ(*ParseShare("0.5%"), 0.005);
  EXPECT_EQ(*ParseShare("100%"), 1.0);
  for (const char* text : {"", "%", "5", "0%", "101%", "-5%", "x%"}) {
    EXPECT_FALSE(ParseShare(text).ok()) << text;
  }
}

}  // namespace
}  // namespace diptych::cli
