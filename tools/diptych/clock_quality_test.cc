#include "tools/diptych/clock_quality.h"

#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <google/protobuf/repeated_ptr_field.h>
#include <gtest/gtest.h>

#include "absl/time/time.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

using Anchors = google::protobuf::RepeatedPtrField<api::v1::ClockAnchor>;

void AddAnchor(uint32_t track, int64_t media_us, int64_t offset_us,
               const std::string& source, Anchors* anchors) {
  api::v1::ClockAnchor* anchor = anchors->Add();
  anchor->set_track_id(track);
  anchor->set_media_us(media_us);
  const int64_t wall_us = absl::ToUnixMicros(kStart) + media_us + offset_us;
  anchor->mutable_wall_time()->set_seconds(wall_us / 1'000'000);
  anchor->mutable_wall_time()->set_nanos(
      static_cast<int32_t>(wall_us % 1'000'000 * 1000));
  anchor->set_source(source);
  anchor->set_uncertainty_us(500);
}

TEST(ClockQualityTest, NoAnchors) {
  EXPECT_THAT(MeasureClocks({}, kStart), IsEmpty());
}

TEST(ClockQualityTest, DriftAndOffsetsByTrack) {
  Anchors anchors;
  AddAnchor(2, 0, -3000, "ntp", &anchors);
  // Out of order on purpose.
  AddAnchor(1, 100'000'000, 12'000, "rtcp", &anchors);
  AddAnchor(1, 0, 2'000, "file", &anchors);
  AddAnchor(1, 50'000'000, 20'000, "rtcp", &anchors);
  const auto clocks = MeasureClocks(anchors, kStart);
  ASSERT_EQ(clocks.size(), 2u);
  EXPECT_EQ(clocks[0].track_id, 1u);
  EXPECT_EQ(clocks[0].anchors, 3u);
  EXPECT_THAT(clocks[0].sources, ElementsAre("file", "rtcp"));
  EXPECT_EQ(clocks[0].min_offset_us, 2'000);
  EXPECT_EQ(clocks[0].max_offset_us, 20'000);
  EXPECT_EQ(clocks[0].max_uncertainty_us, 500u);
  ASSERT_TRUE(clocks[0].drift_ppm.has_value());
  // 10 ms in 100 s.
  EXPECT_NEAR(*clocks[0].drift_ppm, 100, 1e-6);
  EXPECT_EQ(clocks[1].track_id, 2u);
  EXPECT_EQ(clocks[1].min_offset_us, -3000);
  EXPECT_FALSE(clocks[1].drift_ppm.has_value());
}

}  // namespace
}  // namespace diptych::cli
