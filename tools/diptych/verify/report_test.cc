#include "tools/diptych/verify/report.h"

#include <string>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/limits.h"
#include "tools/diptych/verify/timeline_picture.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr char kEvil[] = "<script>alert(1)</script>\" onload='x' &amp;";

VerifyResult Result() {
  VerifyResult result;
  result.to_us = 10'000'000;
  result.source_keys.push_back({"00112233", "", false, {}});
  TrackResult track;
  track.track_id = 1;
  track.side = "resident";
  track.source = kEvil;
  track.codec = "h264";
  track.ranges = {{0, 4'000'000, SecondState::kSigned, 0},
                  {4'000'000, 6'000'000, SecondState::kArchived, 0},
                  {6'000'000, 8'000'000, SecondState::kLeftOut, 0},
                  {8'000'000, 10'000'000, SecondState::kNothing, 0}};
  result.tracks.push_back(track);
  return result;
}

TEST(ReportTest, EscapesWhatComesFromOutside) {
  VerifyResult result = Result();
  result.gateway = kEvil;
  result.principal = kEvil;
  result.purpose = kEvil;
  result.missing.push_back(kEvil);
  result.tags.push_back({0, kEvil, kEvil, kEvil, {kEvil}});
  result.events.push_back({0, kEvil, kEvil, {{kEvil, kEvil}}, 1, kEvil});
  result.attachments.push_back({1, kEvil, 1, kEvil});
  result.custody.push_back({0, kEvil});
  result.witnesses.push_back({kEvil, kEvil, false, 0});
  const std::string report = RenderReport(result);
  EXPECT_FALSE(absl::StrContains(report, "<script"));
  EXPECT_FALSE(absl::StrContains(report, "onload='"));
  EXPECT_FALSE(absl::StrContains(report, "\" onload"));
  EXPECT_TRUE(absl::StrContains(report, "&lt;script&gt;"));
}

TEST(ReportTest, NeedsNothingElse) {
  const std::string report = RenderReport(Result());
  for (const char* reference :
       {"http:", "https:", "src=", "href=", "@import"}) {
    EXPECT_FALSE(absl::StrContains(report, reference)) << reference;
  }
}

TEST(ReportTest, SaysWhatTheEvidenceSaysWhateverKeysAreGiven) {
  VerifyResult without = Result();
  without.witnesses.push_back({"0011", "w", false, 5});
  VerifyResult with = without;
  with.log_key_verified = true;
  with.log_key.verified = true;
  with.source_keys[0].verified = true;
  with.source_keys[0].name = "diptych/A/gateway/g";
  with.witnesses[0].verified = true;
  with.vouching.push_back("all is well");
  EXPECT_EQ(RenderReport(without), RenderReport(with));
}

TEST(ReportTest, EachStateIsToldApart) {
  const std::string report = RenderReport(Result());
  for (const char* words :
       {"as its gateway signed it (key 00112233)", "not signed by its gateway",
        "not in this bundle", "nothing was recorded", "00:00:06.000"}) {
    EXPECT_TRUE(absl::StrContains(report, words)) << words;
  }
}

TEST(ReportTest, TablesAreBounded) {
  VerifyResult result = Result();
  for (size_t i = 0; i < limits::kMaxReportRows + 5; ++i) {
    result.tags.push_back({0, "s", "k", "add", {absl::StrCat("v", i, ".")}});
  }
  const std::string report = RenderReport(result);
  EXPECT_TRUE(absl::StrContains(report, "v0."));
  EXPECT_FALSE(absl::StrContains(
      report, absl::StrCat("v", limits::kMaxReportRows, ".")));
  EXPECT_TRUE(absl::StrContains(report, "5 more are in the evidence"));
}

TEST(EscapeHtmlTest, KeepsTextAndTakesControlsAway) {
  EXPECT_EQ(EscapeHtml("街道 a\tb"), "街道 a\tb");
  EXPECT_EQ(EscapeHtml("a\x01"
                       "b\x7f"),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd");
  // Not UTF-8; a C1 control; a mark that turns what follows around.
  EXPECT_EQ(EscapeHtml("\xff"), "\xef\xbf\xbd");
  EXPECT_EQ(EscapeHtml("\xc2\x9b"), "\xef\xbf\xbd");
  EXPECT_EQ(EscapeHtml("\xe2\x80\xae"), "\xef\xbf\xbd");
}

}  // namespace
}  // namespace diptych::verify
