#include "indexer/builder/lag_meter.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace diptych::indexer {
namespace {

constexpr absl::Duration kStart = absl::Seconds(1000);

TEST(LagMeterTest, TheOldestThatWaitsCounts) {
  LagMeter meter;
  EXPECT_EQ(meter.Lag(kStart), absl::ZeroDuration());
  meter.Arrived(10, kStart);
  meter.Arrived(20, kStart + absl::Milliseconds(5));
  EXPECT_EQ(meter.Lag(kStart + absl::Milliseconds(8)), absl::Milliseconds(8));
  // A part of the first is not the first.
  meter.Consumed(9, kStart + absl::Milliseconds(8));
  EXPECT_EQ(meter.Lag(kStart + absl::Milliseconds(9)), absl::Milliseconds(9));
  meter.Consumed(15, kStart + absl::Milliseconds(9));
  EXPECT_EQ(meter.Lag(kStart + absl::Milliseconds(9)), absl::Milliseconds(4));
  meter.Consumed(20, kStart + absl::Milliseconds(10));
  EXPECT_EQ(meter.Lag(kStart + absl::Seconds(9)), absl::ZeroDuration());
}

TEST(LagMeterTest, TheWorstIsKeptForAMinute) {
  LagMeter meter;
  meter.Arrived(10, kStart);
  meter.Consumed(10, kStart + absl::Milliseconds(300));
  meter.Arrived(20, kStart + absl::Seconds(10));
  meter.Consumed(20, kStart + absl::Seconds(10) + absl::Milliseconds(20));
  EXPECT_EQ(meter.Worst(kStart + absl::Seconds(59)), absl::Milliseconds(300));
  EXPECT_EQ(meter.Worst(kStart + absl::Seconds(60)), absl::Milliseconds(20));
  EXPECT_EQ(meter.Worst(kStart + absl::Seconds(70)), absl::ZeroDuration());
  // What waits now may be the worst of all.
  meter.Arrived(30, kStart + absl::Seconds(71));
  EXPECT_EQ(meter.Worst(kStart + absl::Seconds(74)), absl::Seconds(3));
}

TEST(LagMeterTest, SecondsOfLongAgoAreForgotten) {
  LagMeter meter;
  meter.Arrived(10, kStart);
  meter.Consumed(10, kStart + absl::Milliseconds(300));
  // The same place in the minute, an hour later.
  const absl::Duration later = kStart + absl::Hours(1);
  meter.Arrived(20, later);
  meter.Consumed(20, later + absl::Milliseconds(1));
  EXPECT_EQ(meter.Worst(later + absl::Seconds(1)), absl::Milliseconds(1));
}

TEST(LagMeterTest, VeryManyThatWaitAreBounded) {
  LagMeter meter;
  for (int i = 1; i <= 5000; ++i) {
    meter.Arrived(static_cast<log::Position>(i),
                  kStart + absl::Milliseconds(i));
  }
  const absl::Duration now = kStart + absl::Seconds(5);
  EXPECT_EQ(meter.Lag(now), now - kStart - absl::Milliseconds(1));
  meter.Consumed(4999, now);
  EXPECT_GT(meter.Lag(now), absl::ZeroDuration());
  meter.Consumed(5000, now);
  EXPECT_EQ(meter.Lag(now), absl::ZeroDuration());
}

}  // namespace
}  // namespace diptych::indexer
