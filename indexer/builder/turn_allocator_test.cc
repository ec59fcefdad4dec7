#include "indexer/builder/turn_allocator.h"

#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

TEST(TurnAllocatorTest, EachSecondHasTurnsOfItsOwn) {
  TurnAllocator turns;
  EXPECT_EQ(turns.Next(5).value(), SessionNumber(5, 0));
  EXPECT_EQ(turns.Next(5).value(), SessionNumber(5, 1));
  EXPECT_EQ(turns.Next(4).value(), SessionNumber(4, 0));
  EXPECT_EQ(turns.Next(5).value(), SessionNumber(5, 2));
}

TEST(TurnAllocatorTest, AFullSecondLendsFromThoseAfterIt) {
  TurnAllocator turns;
  EXPECT_EQ(turns.Next(6).value(), SessionNumber(6, 0));
  turns.Mark(SessionNumber(5, 0xfffe));
  turns.Mark(SessionNumber(7, 0xffff));
  EXPECT_EQ(turns.Next(5).value(), SessionNumber(5, 0xffff));
  // The next second's own sessions come in between, in the log's order.
  EXPECT_EQ(turns.Next(5).value(), SessionNumber(6, 1));
  EXPECT_EQ(turns.Next(6).value(), SessionNumber(6, 2));
  turns.Mark(SessionNumber(6, 0xffff));
  EXPECT_EQ(turns.Next(5).value(), SessionNumber(8, 0));
  // What is marked again is not given again.
  turns.Mark(SessionNumber(8, 0));
  EXPECT_EQ(turns.Next(7).value(), SessionNumber(8, 1));
}

TEST(TurnAllocatorTest, AtTheEndOfTimeThereAreNone) {
  constexpr uint32_t kLast = std::numeric_limits<uint32_t>::max();
  TurnAllocator turns;
  turns.Mark(SessionNumber(kLast, 0xfffe));
  EXPECT_EQ(turns.Next(kLast).value(), SessionNumber(kLast, 0xffff));
  EXPECT_EQ(turns.Next(kLast).value(), std::nullopt);
}

// Batches of any size, each with what the index holds by then.
TEST(TurnAllocatorTest, GoesOnFromWhatTheIndexHas) {
  const std::vector<uint32_t> seconds = {9, 9, 8, 9, 8, 7, 9};
  TurnAllocator all;
  std::vector<SessionNumber> at_once;
  for (const uint32_t second : seconds) {
    at_once.push_back(all.Next(second).value().value());
  }
  std::vector<SessionNumber> stored;
  const auto taken_before = [&](uint32_t second) -> absl::StatusOr<uint32_t> {
    uint32_t taken = 0;
    for (const SessionNumber number : stored) {
      taken += number.second() == second ? 1 : 0;
    }
    return taken;
  };
  for (size_t i = 0; i < seconds.size();) {
    TurnAllocator batch(taken_before);
    std::vector<SessionNumber> given;
    for (size_t end = i + 3; i < end && i < seconds.size(); ++i) {
      given.push_back(batch.Next(seconds[i]).value().value());
    }
    stored.insert(stored.end(), given.begin(), given.end());
  }
  EXPECT_EQ(stored, at_once);
  TurnAllocator broken(
      [](uint32_t) { return absl::DataLossError("unreadable"); });
  EXPECT_TRUE(absl::IsDataLoss(broken.Next(1).status()));
}

}  // namespace
}  // namespace diptych::indexer
