#include "archiver/ingest/coverage.h"

#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

using stored::v1::Gap;
using stored::v1::SIDE_CLERK;
using stored::v1::SIDE_RESIDENT;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int64_t kSecond_us = 1'000'000;
constexpr uint32_t kAudio = 1;
constexpr uint32_t kVideo = 2;

class CoverageTest : public testing::Test {
 protected:
  // Packets of 20 ms, one after the other.
  void Fill(stored::v1::Side side, uint32_t track, int64_t from_us,
            int64_t to_us) {
    for (int64_t at_us = from_us; at_us < to_us; at_us += 20'000) {
      coverage_.Take(side, track, at_us, at_us + 20'000, &gaps_);
    }
  }
  void ExpectGap(const Gap& gap, stored::v1::Side side, uint32_t track,
                 int64_t start_us, int64_t end_us) {
    EXPECT_EQ(gap.side(), side);
    EXPECT_EQ(gap.track_id(), track);
    EXPECT_EQ(gap.start_us(), start_us);
    EXPECT_EQ(gap.end_us(), end_us);
  }

  Coverage coverage_;
  std::vector<Gap> gaps_;
};

TEST_F(CoverageTest, WhatFollowsOnIsNoGap) {
  Fill(SIDE_RESIDENT, kAudio, 0, 10 * kSecond_us);
  Fill(SIDE_CLERK, 3, 900'000, 10 * kSecond_us);
  EXPECT_THAT(gaps_, IsEmpty());
  EXPECT_THAT(coverage_.AtEnd(), IsEmpty());
}

TEST_F(CoverageTest, ASideThatPausesHasOneGapWhateverTracksItHas) {
  for (const auto& [from_us, to_us] :
       {std::pair<int64_t, int64_t>{0, 5 * kSecond_us},
        {15 * kSecond_us, 20 * kSecond_us}}) {
    for (int64_t at_us = from_us; at_us < to_us; at_us += 20'000) {
      Fill(SIDE_RESIDENT, kAudio, at_us, at_us + 20'000);
      Fill(SIDE_RESIDENT, kVideo, at_us, at_us + 20'000);
    }
  }
  ASSERT_THAT(gaps_, SizeIs(1));
  ExpectGap(gaps_[0], SIDE_RESIDENT, 0, 5 * kSecond_us, 15 * kSecond_us);
}

TEST_F(CoverageTest, ATrackThatIsSilentAloneHasAGapOfItsOwn) {
  Fill(SIDE_RESIDENT, kAudio, 0, 2 * kSecond_us);
  Fill(SIDE_RESIDENT, kVideo, 0, 8 * kSecond_us);
  Fill(SIDE_RESIDENT, kAudio, 8 * kSecond_us, 9 * kSecond_us);
  ASSERT_THAT(gaps_, SizeIs(1));
  ExpectGap(gaps_[0], SIDE_RESIDENT, kAudio, 2 * kSecond_us, 8 * kSecond_us);
}

TEST_F(CoverageTest, WhereAStreamBrokeAShortGapCounts) {
  Fill(SIDE_RESIDENT, kAudio, 0, 2 * kSecond_us);
  coverage_.Interrupt(SIDE_RESIDENT);
  Fill(SIDE_RESIDENT, kAudio, 2'600'000, 4 * kSecond_us);
  ASSERT_THAT(gaps_, SizeIs(1));
  ExpectGap(gaps_[0], SIDE_RESIDENT, 0, 2 * kSecond_us, 2'600'000);
  // Once, and not where nothing is missing.
  Fill(SIDE_RESIDENT, kAudio, 4'600'000, 5 * kSecond_us);
  coverage_.Interrupt(SIDE_RESIDENT);
  Fill(SIDE_RESIDENT, kAudio, 5'020'000, 6 * kSecond_us);
  EXPECT_THAT(gaps_, SizeIs(1));
}

TEST_F(CoverageTest, LateJoinersAndEarlyLeaversAreSeen) {
  Fill(SIDE_RESIDENT, kAudio, 0, 60 * kSecond_us);
  Fill(SIDE_CLERK, 3, 30 * kSecond_us, 40 * kSecond_us);
  ASSERT_THAT(gaps_, SizeIs(1));
  ExpectGap(gaps_[0], SIDE_CLERK, 0, 0, 30 * kSecond_us);
  const std::vector<Gap> at_end = coverage_.AtEnd();
  ASSERT_THAT(at_end, SizeIs(1));
  ExpectGap(at_end[0], SIDE_CLERK, 0, 40 * kSecond_us, 60 * kSecond_us);
}

TEST_F(CoverageTest, ASideThatNeverCameIsOneGap) {
  Fill(SIDE_CLERK, 3, 0, 60 * kSecond_us);
  const std::vector<Gap> at_end = coverage_.AtEnd();
  ASSERT_THAT(at_end, SizeIs(1));
  ExpectGap(at_end[0], SIDE_RESIDENT, 0, 0, 60 * kSecond_us);
}

TEST_F(CoverageTest, ATrackThatStopsBeforeItsSideIsSilentAtTheEnd) {
  Fill(SIDE_RESIDENT, kAudio, 0, 5 * kSecond_us);
  Fill(SIDE_RESIDENT, kVideo, 0, 20 * kSecond_us);
  Fill(SIDE_CLERK, 3, 0, 20 * kSecond_us);
  const std::vector<Gap> at_end = coverage_.AtEnd();
  ASSERT_THAT(at_end, SizeIs(1));
  ExpectGap(at_end[0], SIDE_RESIDENT, kAudio, 5 * kSecond_us, 20 * kSecond_us);
}

TEST_F(CoverageTest, ATrackThatWasTakenAwayIsNotSilent) {
  Fill(SIDE_RESIDENT, kAudio, 0, 5 * kSecond_us);
  coverage_.RemoveTrack(kAudio);
  Fill(SIDE_RESIDENT, kVideo, 5 * kSecond_us, 20 * kSecond_us);
  Fill(SIDE_CLERK, 3, 0, 20 * kSecond_us);
  EXPECT_THAT(gaps_, IsEmpty());
  EXPECT_THAT(coverage_.AtEnd(), IsEmpty());
}

TEST_F(CoverageTest, ATrackThatDoesNotComeBackAfterARestartIsSilent) {
  coverage_.Restore(SIDE_RESIDENT, 10 * kSecond_us);
  coverage_.AddTrack(SIDE_RESIDENT, kAudio);
  coverage_.AddTrack(SIDE_RESIDENT, kVideo);
  Fill(SIDE_RESIDENT, kAudio, 10'200'000, 30 * kSecond_us);
  Fill(SIDE_RESIDENT, kVideo, 30 * kSecond_us, 31 * kSecond_us);
  ASSERT_THAT(gaps_, SizeIs(1));
  ExpectGap(gaps_[0], SIDE_RESIDENT, kVideo, 10 * kSecond_us, 30 * kSecond_us);
}

TEST_F(CoverageTest, WhatWasCoveredBeforeARestartIsKnown) {
  coverage_.Restore(SIDE_RESIDENT, 10 * kSecond_us);
  Fill(SIDE_RESIDENT, kAudio, 14 * kSecond_us, 15 * kSecond_us);
  ASSERT_THAT(gaps_, SizeIs(1));
  ExpectGap(gaps_[0], SIDE_RESIDENT, 0, 10 * kSecond_us, 14 * kSecond_us);
}

}  // namespace
}  // namespace diptych::ingest
