#include "tools/loadgen/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace diptych::loadgen {
namespace {

TEST(HistogramTest, EmptyHasNothing) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.Quantile_us(0.5), 0);
}

TEST(HistogramTest, QuantilesAreAtMostA64thTooHigh) {
  std::mt19937_64 random(7);
  std::vector<int64_t> values;
  Histogram histogram;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<int64_t>(
        std::exp(std::uniform_real_distribution<double>(0, 25)(random))));
    histogram.Add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(
        std::ceil(share * static_cast<double>(values.size())));
    const int64_t exact = values[rank - 1];
    EXPECT_GE(histogram.Quantile_us(share), exact);
    EXPECT_LE(histogram.Quantile_us(share), exact + exact / 64 + 1);
  }
  EXPECT_EQ(histogram.max_us(), values.back());
}

TEST(HistogramTest, TakesEveryValue) {
  Histogram histogram;
  histogram.Add(-5);
  EXPECT_EQ(histogram.Quantile_us(1), 0);
  histogram.Add(INT64_MAX);
  EXPECT_EQ(histogram.Quantile_us(1), INT64_MAX);
  EXPECT_EQ(histogram.count(), 2U);
}

TEST(HistogramTest, MergesAndCountsManyAtOnce) {
  Histogram one;
  Histogram other;
  one.Add(1000, 99);
  other.Add(9000);
  one.Merge(other);
  EXPECT_EQ(one.count(), 100U);
  EXPECT_LE(one.Quantile_us(0.99), 1016);
  EXPECT_EQ(one.Quantile_us(1), 9000);
}

}  // namespace
}  // namespace diptych::loadgen
