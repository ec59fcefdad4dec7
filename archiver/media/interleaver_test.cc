#include "archiver/media/interleaver.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/time.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {
namespace {

using stored::v1::SIDE_CLERK;
using stored::v1::SIDE_RESIDENT;
using testing::ElementsAre;

class InterleaverTest : public testing::Test {
 protected:
  void Push(stored::v1::Side side, int64_t dts_us, size_t bytes = 10) {
    PendingPacket packet;
    packet.side = side;
    packet.info.sequence = ++sequence_[side];
    packet.info.dts_us = dts_us;
    packet.payload = std::string(bytes, 'x');
    packet.arrived = absl::Microseconds(++clock_);
    interleaver_.Push(std::move(packet));
  }
  std::vector<int64_t> Take(int64_t before_us, size_t bytes = 1 << 20,
                            size_t packets = 1000) {
    std::vector<int64_t> times;
    for (const PendingPacket& packet :
         interleaver_.Take(before_us, bytes, packets)) {
      times.push_back(packet.info.dts_us);
      EXPECT_EQ(packet.info.sequence, ++taken_[packet.side]);
    }
    return times;
  }

  Interleaver interleaver_;
  std::map<stored::v1::Side, uint64_t> sequence_;
  std::map<stored::v1::Side, uint64_t> taken_;
  int64_t clock_ = 0;
};

TEST_F(InterleaverTest, MergesBothSidesByTime) {
  for (const int64_t t : {0, 20, 40}) Push(SIDE_RESIDENT, t);
  for (const int64_t t : {10, 30, 50}) Push(SIDE_CLERK, t);
  EXPECT_EQ(interleaver_.head_dts_us(), 0);
  EXPECT_THAT(Take(35), ElementsAre(0, 10, 20, 30));
  EXPECT_EQ(interleaver_.payload_bytes(), 20u);
  EXPECT_THAT(Take(1000), ElementsAre(40, 50));
  EXPECT_TRUE(interleaver_.empty());
}

TEST_F(InterleaverTest, ASideLeavesInSequenceEvenIfItsTracksAreNotInOrder) {
  Push(SIDE_RESIDENT, 100);
  Push(SIDE_RESIDENT, 50);
  Push(SIDE_CLERK, 60);
  // 50 waits behind 100, which is not due.
  EXPECT_THAT(Take(90), ElementsAre(60));
  EXPECT_THAT(Take(200), ElementsAre(100, 50));
}

TEST_F(InterleaverTest, StopsOnceTheBytesAreReached) {
  for (int i = 0; i < 10; ++i) Push(SIDE_RESIDENT, i, 100);
  EXPECT_THAT(Take(1000, 250), ElementsAre(0, 1, 2));
  EXPECT_EQ(interleaver_.payload_bytes(), 700u);
  EXPECT_THAT(Take(1000, 1 << 20, 2), ElementsAre(3, 4));
  EXPECT_EQ(interleaver_.packets(), 5u);
}

TEST_F(InterleaverTest, KnowsHowFarASideHasCome) {
  EXPECT_FALSE(interleaver_.HasReached(SIDE_CLERK, 0));
  Push(SIDE_CLERK, 500);
  EXPECT_TRUE(interleaver_.HasReached(SIDE_CLERK, 500));
  EXPECT_FALSE(interleaver_.HasReached(SIDE_CLERK, 501));
  EXPECT_FALSE(interleaver_.HasReached(SIDE_RESIDENT, 0));
  EXPECT_EQ(interleaver_.oldest_arrival(), absl::Microseconds(1));
  Take(1000);
  EXPECT_FALSE(interleaver_.HasReached(SIDE_CLERK, 0));
  EXPECT_EQ(interleaver_.oldest_arrival(), std::nullopt);
}

}  // namespace
}  // namespace diptych::media
