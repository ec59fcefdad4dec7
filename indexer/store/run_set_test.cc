#include "indexer/store/run_set.h"

#include <cstdint>
#include <limits>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace diptych::indexer {
namespace {

TEST(RunSetTest, KnowsItsRuns) {
  std::mt19937 random(5);
  for (int round = 0; round < 100; ++round) {
    RunSet runs;
    std::set<uint32_t> expected;
    for (uint32_t run = 0; run < 200; ++run) {
      if (random() % 3 != 0) continue;
      runs.Append(run, run);
      expected.insert(run);
    }
    EXPECT_EQ(runs.size(), expected.size());
    RunSteps steps(runs);
    for (uint32_t run = 0; run < 210; ++run) {
      EXPECT_EQ(runs.Contains(run), expected.contains(run));
      // Some are never asked for.
      if (random() % 4 == 0) continue;
      EXPECT_EQ(steps.Contains(run), expected.contains(run));
    }
  }
}

TEST(RunSetTest, HasTheLargestRun) {
  constexpr uint32_t kLargest = std::numeric_limits<uint32_t>::max();
  const RunSet runs(kLargest - 1, kLargest);
  EXPECT_TRUE(runs.Contains(kLargest));
  EXPECT_FALSE(runs.Contains(0));
  RunSteps steps(runs);
  EXPECT_FALSE(steps.Contains(5));
  EXPECT_TRUE(steps.Contains(kLargest));
  const RunSet none;
  EXPECT_FALSE(RunSteps(none).Contains(0));
}

}  // namespace
}  // namespace diptych::indexer
