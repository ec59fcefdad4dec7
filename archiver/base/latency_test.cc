#include "archiver/base/latency.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace diptych::base {
namespace {

TEST(LatencyHistogramTest, QuantilesAreWithinAnEighth) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.99), absl::ZeroDuration());
  std::mt19937 random(3);
  std::lognormal_distribution<double> spread(8, 2);
  std::vector<int64_t> all_us;
  for (int i = 0; i < 10'000; ++i) {
    all_us.push_back(static_cast<int64_t>(spread(random)));
    histogram.Add(absl::Microseconds(all_us.back()));
  }
  std::sort(all_us.begin(), all_us.end());
  EXPECT_EQ(histogram.count(), 10'000u);
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const int64_t exact_us = all_us[static_cast<size_t>(share * 10'000) - 1];
    const int64_t got_us = absl::ToInt64Microseconds(histogram.Quantile(share));
    EXPECT_GE(got_us, exact_us) << share;
    EXPECT_LE(got_us, exact_us + exact_us / 8 + 1) << share;
  }
}

TEST(LatencyHistogramTest, TheEdgesCount) {
  LatencyHistogram histogram;
  histogram.Add(-absl::Seconds(1));
  EXPECT_EQ(histogram.Quantile(1), absl::ZeroDuration());
  histogram.Add(absl::Hours(100'000));
  EXPECT_GT(histogram.Quantile(1), absl::Hours(1));
}

}  // namespace
}  // namespace diptych::base
