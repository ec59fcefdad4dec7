#include "tools/gateway/picture_order.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace diptych::gateway {
namespace {

using Times = PictureOrder::Times;

// Pushes all keys and pops whatever comes.
std::vector<Times> Order(PictureOrder order, const std::vector<int64_t>& keys,
                         const std::vector<bool>& resets = {}) {
  std::vector<Times> times;
  for (size_t i = 0; i < keys.size(); ++i) {
    order.Push(keys[i], i < resets.size() && resets[i]);
    while (const auto next = order.Pop()) times.push_back(*next);
  }
  order.Finish();
  while (const auto next = order.Pop()) times.push_back(*next);
  return times;
}

void ExpectSound(const std::vector<Times>& times) {
  for (size_t i = 0; i < times.size(); ++i) {
    EXPECT_LE(times[i].dts_us, times[i].pts_us) << i;
    if (i > 0) EXPECT_LT(times[i - 1].dts_us, times[i].dts_us) << i;
  }
}

// A pyramid of three B-pictures, `groups` times: I P B b b P B b b …
std::vector<int64_t> Pyramid(int groups, int64_t step) {
  std::vector<int64_t> keys = {0};
  for (int64_t i = 0; i < groups; ++i) {
    for (const int64_t place : {4, 2, 1, 3}) {
      keys.push_back((4 * i + place) * step);
    }
  }
  return keys;
}

TEST(PictureOrderTest, WithoutReorderingDecodeTimesArePresentationTimes) {
  const std::vector<int64_t> pts = {0, 40, 95, 100, 180};
  const auto times = Order(PictureOrder::FromPresentationTimes(40, 0), pts);
  ASSERT_EQ(times.size(), pts.size());
  for (size_t i = 0; i < pts.size(); ++i) {
    EXPECT_EQ(times[i].pts_us, pts[i]);
    EXPECT_EQ(times[i].dts_us, pts[i]);
  }
}

TEST(PictureOrderTest, DecodeTimesRunAheadByTheReordering) {
  const auto keys = Pyramid(40, 40);
  const auto times = Order(PictureOrder::FromPresentationTimes(40, 0), keys);
  ASSERT_EQ(times.size(), keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(times[i].pts_us, keys[i]);
    EXPECT_EQ(times[i].dts_us, (static_cast<int64_t>(i) - 2) * 40);
  }
  ExpectSound(times);
}

TEST(PictureOrderTest, ReorderingThatBeginsLateIsStillSound) {
  std::vector<int64_t> keys;
  for (int64_t i = 0; i < 100; ++i) keys.push_back(i * 40);
  for (const int64_t key : Pyramid(20, 40)) keys.push_back(4000 + key);
  const auto times = Order(PictureOrder::FromPresentationTimes(40, 0), keys);
  ASSERT_EQ(times.size(), keys.size());
  for (size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(times[i].pts_us, keys[i]);
    EXPECT_LE(times[i].dts_us, times[i].pts_us);
    if (i > 0) EXPECT_LE(times[i - 1].dts_us, times[i].dts_us);
  }
}

TEST(PictureOrderTest, CountsBecomeTimes) {
  // Order counts in steps of two that begin again at each instant refresh.
  std::vector<int64_t> keys = Pyramid(10, 2);
  std::vector<bool> resets(keys.size(), false);
  resets[0] = true;
  const size_t first = keys.size();
  for (const int64_t key : Pyramid(10, 2)) keys.push_back(key);
  resets.resize(keys.size(), false);
  resets[first] = true;
  const auto times = Order(PictureOrder::FromOrderCounts(40, 0), keys, resets);
  ASSERT_EQ(times.size(), keys.size());
  for (size_t i = 0; i < times.size(); ++i) {
    const int64_t base = i < first ? 0 : static_cast<int64_t>(first);
    EXPECT_EQ(times[i].pts_us, (base + keys[i] / 2) * 40) << i;
  }
  ExpectSound(times);
}

TEST(PictureOrderTest, HoldsBackOnlyABoundedNumber) {
  PictureOrder order = PictureOrder::FromPresentationTimes(40, 0);
  size_t popped = 0;
  size_t most_inside = 0;
  for (size_t i = 0; i < 1'000; ++i) {
    order.Push(static_cast<int64_t>(i) * 40, false);
    while (order.Pop().has_value()) ++popped;
    most_inside = std::max(most_inside, i + 1 - popped);
  }
  EXPECT_LE(most_inside, 34u);
}

TEST(PictureOrderTest, ASinglePictureHasItsTimes) {
  const auto times = Order(PictureOrder::FromPresentationTimes(40, 3), {500});
  ASSERT_EQ(times.size(), 1u);
  EXPECT_EQ(times[0].pts_us, 500);
  EXPECT_EQ(times[0].dts_us, 500 - 3 * 40);
}

}  // namespace
}  // namespace diptych::gateway
