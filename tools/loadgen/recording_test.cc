#include "tools/loadgen/recording.h"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

namespace diptych::loadgen {
namespace {

constexpr char kResident[] = "tests/data/janus-h264-opus-resident.mkv";
constexpr char kClerk[] = "tests/data/janus-h264-opus-clerk.mkv";

class RecordingTest : public testing::Test {
 protected:
  const Recording recording_ = Recording::Load(kResident, kClerk).value();
};

TEST_F(RecordingTest, GoesOnAfterItsEnd) {
  for (size_t side = 0; side < 2; ++side) {
    const uint64_t count = recording_.sides()[side].items.size();
    ASSERT_GT(count, 500U);
    const api::v1::Packet first = recording_.PacketAt(side, 1);
    const api::v1::Packet again = recording_.PacketAt(side, count + 1);
    EXPECT_EQ(again.sequence(), count + 1);
    EXPECT_EQ(again.payload(), first.payload());
    EXPECT_EQ(again.pts_us(), first.pts_us() + recording_.round_us());
    EXPECT_EQ(again.dts_us(), first.dts_us() + recording_.round_us());
    EXPECT_LE(recording_.DueAt(side, count), recording_.DueAt(side, count + 1));
  }
}

TEST_F(RecordingTest, CountsWhatIsDueAndItsBytes) {
  for (size_t side = 0; side < 2; ++side) {
    for (const int64_t length_us :
         {int64_t{0}, int64_t{1'000'000}, recording_.round_us(),
          3 * recording_.round_us() + 1'234'567}) {
      const uint64_t count = recording_.PacketsWithin(side, length_us);
      uint64_t bytes = 0;
      for (uint64_t n = 1; n <= count; ++n) {
        EXPECT_LT(recording_.DueAt(side, n), length_us);
        bytes += recording_.PacketAt(side, n).payload().size();
      }
      EXPECT_GE(recording_.DueAt(side, count + 1), length_us);
      EXPECT_EQ(recording_.BytesThrough(side, count), bytes);
    }
  }
}

TEST_F(RecordingTest, PacketsBelongToTheTracksOfTheirTime) {
  for (const Recording::Side& side : recording_.sides()) {
    for (const Recording::Item& item : side.items) {
      ASSERT_LT(item.tracks, side.tracks.size());
      bool known = false;
      for (const api::v1::Track& track : side.tracks[item.tracks]) {
        known = known || track.track_id() == item.packet.track_id();
      }
      EXPECT_TRUE(known);
      EXPECT_GE(item.packet.pts_us(), 0);
    }
  }
}

TEST(RecordingErrorTest, WhatIsNotThereIsSaid) {
  EXPECT_FALSE(Recording::Load("no-such-file.mkv", kClerk).ok());
}

}  // namespace
}  // namespace diptych::loadgen
