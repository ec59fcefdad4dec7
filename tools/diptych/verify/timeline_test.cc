#include "tools/diptych/verify/timeline.h"

#include <cstdint>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr int64_t kSecond = 1'000'000;

TEST(TimelineTest, NothingAtAllIsOneRange) {
  const std::vector<StateRange> ranges = Timeline(0, 2'500'000).Ranges();
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].from_us, 0);
  EXPECT_EQ(ranges[0].to_us, 2'500'000);
  EXPECT_EQ(ranges[0].state, SecondState::kNothing);
}

TEST(TimelineTest, OneUnsignedPacketMakesASecondUnsigned) {
  Timeline timeline(kSecond, 4 * kSecond);
  timeline.AddPacket(kSecond, 0);
  timeline.AddPacket(2 * kSecond, 0);
  timeline.AddPacket(2 * kSecond + 1, std::nullopt);
  timeline.AddPacket(3 * kSecond, 1);
  const std::vector<StateRange> ranges = timeline.Ranges();
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[0].state, SecondState::kSigned);
  EXPECT_EQ(ranges[1].state, SecondState::kArchived);
  EXPECT_EQ(ranges[2].state, SecondState::kSigned);
  EXPECT_EQ(ranges[2].key, 1u);
}

TEST(TimelineTest, PacketsCountMoreThanWhatIsLeftOut) {
  Timeline timeline(0, 3 * kSecond);
  timeline.AddPacket(0, 0);
  timeline.LeaveOut(500'000, kSecond + 1);
  const std::vector<StateRange> ranges = timeline.Ranges();
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[0].state, SecondState::kSigned);
  EXPECT_EQ(ranges[1].state, SecondState::kLeftOut);
  EXPECT_EQ(ranges[2].state, SecondState::kNothing);
}

TEST(TimelineTest, WhatLiesOutsideIsPassedOver) {
  Timeline timeline(0, kSecond);
  timeline.AddPacket(-1, 0);
  timeline.AddPacket(kSecond, 0);
  timeline.LeaveOut(-5 * kSecond, 0);
  timeline.LeaveOut(kSecond, 5 * kSecond);
  ASSERT_EQ(timeline.Ranges().size(), 1u);
  EXPECT_EQ(timeline.Ranges()[0].state, SecondState::kNothing);
}

}  // namespace
}  // namespace diptych::verify
