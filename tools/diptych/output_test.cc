#include "tools/diptych/output.h"

#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::cli {
namespace {

using ::testing::HasSubstr;

// What an Output with these options writes.
class OutputTest : public testing::Test {
 protected:
  Output Make(const OutputOptions& options) {
    return Output(options, &data_, &messages_);
  }

  std::ostringstream data_;
  std::ostringstream messages_;
};

TEST_F(OutputTest, JsonLines) {
  Output output = Make({.json = true});
  output.Text("for people");
  output.Line("session", {{"session", "s1"}, {"duration_s", 1.5}});
  output.Progress("reading", 1, 2);
  output.Note("a note");
  output.Summary({{"sessions", 1}}, "one session");
  EXPECT_EQ(data_.str(),
            "{\"message_type\":\"session\",\"session\":\"s1\","
            "\"duration_s\":1.5}\n"
            "{\"message_type\":\"summary\",\"sessions\":1}\n");
  EXPECT_EQ(messages_.str(), "a note\n");
}

TEST_F(OutputTest, JsonSurvivesBrokenUtf8) {
  Output output = Make({.json = true});
  output.Line("x", {{"value", "a\xff"}});
  EXPECT_EQ(data_.str(), "{\"message_type\":\"x\",\"value\":\"a\uFFFD\"}\n");
}

TEST_F(OutputTest, TextForPeople) {
  Output output = Make({});
  output.Text("data");
  output.Line("session", {{"session", "s1"}});
  output.Summary({{"sessions", 1}}, "one session");
  EXPECT_EQ(data_.str(), "data\n");
  EXPECT_EQ(messages_.str(), "one session\n");
}

TEST_F(OutputTest, QuietKeepsDataWarningsAndErrors) {
  Output output = Make({.quiet = true});
  output.Text("data");
  output.Note("a note");
  output.Progress("reading", 1, 2);
  output.Warning("careful");
  output.Summary({}, "done");
  output.Error(absl::NotFoundError("not there"), 3);
  EXPECT_EQ(data_.str(), "data\n");
  EXPECT_EQ(messages_.str(), "warning: careful\ndiptych: not there\n");
}

TEST_F(OutputTest, ColorOnlyWhereAllowed) {
  Make({.stderr_is_terminal = true, .color = true}).Warning("careful");
  EXPECT_EQ(messages_.str(), "\033[33mwarning: careful\033[0m\n");
}

TEST_F(OutputTest, NoColorIsHonoured) {
  setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(DetectOutput(false, false).color);
  unsetenv("NO_COLOR");
}

TEST_F(OutputTest, ProgressInTenthsWithoutATerminal) {
  Output output = Make({.line_interval = absl::ZeroDuration()});
  for (uint64_t done = 0; done <= 100; ++done) {
    output.Progress("checking", done, 100);
  }
  EXPECT_THAT(messages_.str(), testing::StartsWith("checking: 10 %\n"));
  EXPECT_THAT(messages_.str(), testing::EndsWith("checking: 100 %\n"));
  const std::string text = messages_.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 10);
}

TEST_F(OutputTest, WhatIsOverAtOnceShowsNoProgress) {
  Output lines = Make({.line_interval = absl::Hours(1)});
  lines.Progress("checking", 1, 1);
  Output bar =
      Make({.stderr_is_terminal = true, .bar_interval = absl::Hours(1)});
  bar.Progress("checking", 1, 1);
  EXPECT_EQ(messages_.str(), "");
}

TEST_F(OutputTest, ABarIsClearedBeforeAnythingElse) {
  Output output =
      Make({.stderr_is_terminal = true, .bar_interval = absl::ZeroDuration()});
  output.Progress("checking", 1, 2);
  output.Note("next");
  EXPECT_EQ(messages_.str(),
            "\r\033[Kchecking [###############...............] 50 %"
            "\r\033[Knext\n");
}

TEST_F(OutputTest, ErrorIsTheLastJsonLine) {
  Output output = Make({.json = true});
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD_FILTER");
  detail.set_field("filter");
  detail.set_field_offset(8);
  output.Error(base::MakeError(absl::StatusCode::kInvalidArgument,
                               "the filter ends too early", detail),
               2);
  EXPECT_EQ(data_.str(),
            "{\"message_type\":\"error\",\"code\":\"INVALID_ARGUMENT\","
            "\"exit_code\":2,\"message\":\"the filter ends too early\","
            "\"reason\":\"BAD_FILTER\",\"field\":\"filter\","
            "\"field_offset\":8}\n");
}

TEST_F(OutputTest, CaretUnderThePlace) {
  Make({}).Error(absl::InvalidArgumentError("a value is missing"), 2,
                 "item = ", 7);
  EXPECT_EQ(messages_.str(),
            "diptych: a value is missing\n"
            "  item = \n"
            "         ^\n");
}

TEST_F(OutputTest, CaretCountsColumnsNotBytes) {
  Make({}).Error(
      absl::InvalidArgumentError("no such sign"), 2, "a = 居 !",
      // "a = " and the three bytes of one wide character and a space.
      8);
  EXPECT_THAT(messages_.str(), HasSubstr("  a = 居 !\n         ^\n"));
}

TEST_F(OutputTest, CaretStaysWithinTheText) {
  Make({}).Error(absl::InvalidArgumentError("x"), 2, "ab", 99);
  EXPECT_THAT(messages_.str(), HasSubstr("  ab\n    ^\n"));
}

TEST(FormatTest, Units) {
  EXPECT_EQ(FormatUtc(absl::FromUnixMillis(1'700'000'000'007)),
            "2023-11-14T22:13:20.007Z");
  EXPECT_EQ(FormatOffset(3'723'004'000), "1:02:03.004");
  EXPECT_EQ(FormatOffset(-1'500'000), "-0:00:01.500");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(uint64_t{5} << 40), "5.0 TiB");
  EXPECT_EQ(Seconds(1'234'567), 1.235);
}

}  // namespace
}  // namespace diptych::cli
