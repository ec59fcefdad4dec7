#include "archiver/ingest/track_clock.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "archiver/base/limits.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

constexpr int64_t kSecond_us = 1'000'000;
constexpr int64_t kPacket_us = 20'000;

// A media clock: what it reads at a true session time.
using MediaClock = std::function<int64_t(int64_t true_us)>;

struct Played {
  // Session time minus truth, packet by packet.
  std::vector<int64_t> errors_us;
  std::vector<stored::v1::ClockChanged> changes;

  int64_t Percentile95() const {
    std::vector<int64_t> sizes;
    for (const int64_t error : errors_us) sizes.push_back(std::abs(error));
    std::sort(sizes.begin(), sizes.end());
    return sizes[sizes.size() * 95 / 100];
  }
  int64_t Worst() const {
    int64_t worst = 0;
    for (const int64_t error : errors_us) {
      worst = std::max(worst, std::abs(error));
    }
    return worst;
  }
  size_t Jumps() const {
    return static_cast<size_t>(
        std::count_if(changes.begin(), changes.end(), [](const auto& change) {
          return change.reason() == stored::v1::CLOCK_REASON_JUMP;
        }));
  }
};

struct Scene {
  MediaClock media;
  int64_t length_us = 120 * kSecond_us;
  // How late an anchor is against the packet that it belongs to.
  int64_t anchor_delay_us = 0;
  // Wall minus truth, as anchors say it.
  std::function<int64_t(int64_t)> wall_error = [](int64_t) { return 0; };
  std::string source = "ntp";
  uint64_t uncertainty_us = 0;
  // No anchors from here on.
  int64_t anchors_until_us = INT64_MAX;
  // True times without packets.
  int64_t silent_from_us = 0;
  int64_t silent_to_us = 0;
};

Played Play(const Scene& scene, TrackClock* clock) {
  Played run;
  int64_t last_session_us = INT64_MIN;
  for (int64_t true_us = 0; true_us < scene.length_us; true_us += kPacket_us) {
    const int64_t anchored_us = true_us - scene.anchor_delay_us;
    if (true_us % kSecond_us == 0 && anchored_us >= 0 &&
        anchored_us < scene.anchors_until_us) {
      clock->AddAnchor({.media_us = scene.media(anchored_us),
                        .wall_us = anchored_us + scene.wall_error(anchored_us),
                        .uncertainty_us = scene.uncertainty_us,
                        .source = scene.source});
    }
    if (true_us >= scene.silent_from_us && true_us < scene.silent_to_us) {
      continue;
    }
    const int64_t raw_us = scene.media(true_us);
    const TrackClock::Mapped mapped =
        clock->Map(raw_us, raw_us, kPacket_us, nullptr);
    const int64_t session_us = raw_us + mapped.offset_us;
    EXPECT_GE(session_us, last_session_us) << "at " << true_us;
    EXPECT_GE(session_us, 0);
    last_session_us = session_us;
    run.errors_us.push_back(session_us - true_us);
    if (mapped.change.has_value()) run.changes.push_back(*mapped.change);
  }
  return run;
}

Played Play(const Scene& scene) {
  TrackClock clock;
  return Play(scene, &clock);
}

MediaClock Drifting(double ppm) {
  return [ppm](int64_t true_us) {
    return true_us + std::llround(static_cast<double>(true_us) * ppm / 1e6);
  };
}

MediaClock Stepping(int64_t at_us, int64_t step_us) {
  return [=](int64_t true_us) {
    return true_us + (true_us >= at_us ? step_us : 0);
  };
}

TEST(TrackClockTest, WithoutAnchorsSessionTimeIsRawTime) {
  TrackClock clock;
  for (int64_t raw_us = 0; raw_us < kSecond_us; raw_us += kPacket_us) {
    const auto mapped = clock.Map(raw_us, raw_us, kPacket_us, nullptr);
    EXPECT_EQ(mapped.offset_us, 0);
    EXPECT_FALSE(mapped.change.has_value());
  }
}

TEST(TrackClockTest, AnHonestClockIsLeftAlone) {
  const Played run = Play({.media = Drifting(0)});
  EXPECT_EQ(run.Worst(), 0);
  EXPECT_TRUE(run.changes.empty());
}

TEST(TrackClockTest, ATrackIsPlacedWhereItsFirstAnchorSays) {
  // It counts from its own beginning, an hour into the session.
  const int64_t late_us = 3600 * kSecond_us;
  TrackClock clock;
  clock.AddAnchor({.media_us = 0,
                   .wall_us = late_us,
                   .uncertainty_us = 0,
                   .source = "ntp"});
  const auto mapped = clock.Map(0, 0, kPacket_us, nullptr);
  EXPECT_EQ(mapped.offset_us, late_us);
  ASSERT_TRUE(mapped.change.has_value());
  EXPECT_EQ(mapped.change->reason(), stored::v1::CLOCK_REASON_PLACED);
  EXPECT_EQ(mapped.change->offset_us(), late_us);
}

TEST(TrackClockTest, DriftIsFollowed) {
  for (const double ppm : {200.0, -200.0, 450.0}) {
    const Played run =
        Play({.media = Drifting(ppm), .length_us = 1800 * kSecond_us});
    // Without it the error would come to 360 ms and more.
    EXPECT_LE(run.Worst(), 5'000) << ppm;
    EXPECT_FALSE(run.changes.empty());
    EXPECT_EQ(run.Jumps(), 0u);
    EXPECT_LE(run.changes.size(), 60u) << ppm;
    for (const auto& change : run.changes) {
      EXPECT_LE(std::abs(change.rate_ppb()), limits::kMaxDrift_ppb);
    }
  }
}

TEST(TrackClockTest, DriftIsFollowedThroughNoise) {
  std::mt19937 random(7);
  std::normal_distribution<double> noise_us(0, 3'000);
  const Played run =
      Play({.media = Drifting(200),
            .length_us = 900 * kSecond_us,
            .wall_error =
                [&](int64_t) { return static_cast<int64_t>(noise_us(random)); },
            .uncertainty_us = 5'000});
  EXPECT_LE(run.Percentile95(), 15'000);
}

TEST(TrackClockTest, ACorrectionEndsWithoutFurtherAnchors) {
  // Something is being worked off when the anchors fall silent.
  const Played run = Play({.media = Drifting(300),
                           .length_us = 1800 * kSecond_us,
                           .anchors_until_us = 40 * kSecond_us});
  ASSERT_FALSE(run.changes.empty());
  // Going on with the correction would come to 100 ms and more.
  EXPECT_LE(run.Worst(), 20'000);
}

TEST(TrackClockTest, AnotherSourceTakesOverFromASilentOne) {
  TrackClock clock;
  const auto anchor = [&](int64_t media_us, int64_t wall_us,
                          uint64_t uncertainty_us, const std::string& source) {
    clock.AddAnchor({.media_us = media_us,
                     .wall_us = wall_us,
                     .uncertainty_us = uncertainty_us,
                     .source = source});
  };
  anchor(0, 0, 5'000, "rtcp");
  EXPECT_EQ(clock.Map(0, 0, kPacket_us, nullptr).offset_us, 0);
  // Less certain: not heard while the other one speaks.
  anchor(1 * kSecond_us, 5 * kSecond_us, 200'000, "arrival");
  EXPECT_EQ(clock.Map(kSecond_us, kSecond_us, kPacket_us, nullptr).offset_us,
            0);
  // The source began again at 0, a minute later, and has no reports any more.
  anchor(0, 60 * kSecond_us, 200'000, "arrival");
  EXPECT_EQ(clock.Map(0, 0, kPacket_us, nullptr).offset_us, 60 * kSecond_us);
}

TEST(TrackClockTest, NoDriftIsFollowedBeyondTheLimit) {
  const Played run = Play({.media = Drifting(2000)});
  for (const auto& change : run.changes) {
    EXPECT_LE(std::abs(change.rate_ppb()), limits::kMaxDrift_ppb);
  }
}

TEST(TrackClockTest, AStepOfTheMediaClockIsFollowedAtOnce) {
  for (const int64_t step_us : {2 * kSecond_us, -2 * kSecond_us}) {
    const Played run = Play({.media = Stepping(60 * kSecond_us, step_us)});
    EXPECT_LE(run.Worst(), kPacket_us) << step_us;
    EXPECT_EQ(run.Jumps(), 1u) << step_us;
  }
}

TEST(TrackClockTest, AStepThatAnchorsShowLateIsMadeGood) {
  // The anchor of each second comes 3 s after its packet.
  for (const int64_t step_us : {2 * kSecond_us, -2 * kSecond_us}) {
    const Played run = Play({.media = Stepping(60 * kSecond_us, step_us),
                             .length_us = 240 * kSecond_us,
                             .anchor_delay_us = 3 * kSecond_us});
    EXPECT_LE(std::abs(run.errors_us.back()), kPacket_us) << step_us;
    EXPECT_LE(run.Percentile95(), 80'000) << step_us;
    EXPECT_GE(run.Jumps(), 1u);
  }
}

TEST(TrackClockTest, AClockThatGoesBackWithoutAnchorsGoesOnFromWhereItWas) {
  TrackClock clock;
  int64_t last_us = 0;
  for (int64_t raw_us = 10 * kSecond_us; raw_us < 11 * kSecond_us;
       raw_us += kPacket_us) {
    last_us = raw_us + clock.Map(raw_us, raw_us, kPacket_us, nullptr).offset_us;
  }
  const auto mapped = clock.Map(0, 0, kPacket_us, nullptr);
  EXPECT_EQ(mapped.offset_us, last_us + kPacket_us);
  ASSERT_TRUE(mapped.change.has_value());
  EXPECT_EQ(mapped.change->reason(), stored::v1::CLOCK_REASON_JUMP);
  // Afterwards it runs evenly.
  EXPECT_EQ(clock.Map(kPacket_us, kPacket_us, kPacket_us, nullptr).offset_us,
            mapped.offset_us);
}

TEST(TrackClockTest, AStepOfTheAnchorsClockMovesNothing) {
  const Played run =
      Play({.media = Drifting(0), .wall_error = [](int64_t at_us) {
              return at_us >= 60 * kSecond_us ? 2 * kSecond_us : int64_t{0};
            }});
  EXPECT_EQ(run.Worst(), 0);
  EXPECT_EQ(run.Jumps(), 0u);
  // But it is recorded what the anchors said.
  ASSERT_FALSE(run.changes.empty());
  EXPECT_EQ(run.changes.front().residual_us(), 2 * kSecond_us);
}

TEST(TrackClockTest, SilenceIsNoJump) {
  const Played run = Play({.media = Drifting(100),
                           .silent_from_us = 50 * kSecond_us,
                           .silent_to_us = 60 * kSecond_us});
  EXPECT_EQ(run.Jumps(), 0u);
  EXPECT_LE(run.Worst(), 5'000);
}

TEST(TrackClockTest, AStepDuringASilenceIsFollowed) {
  for (const int64_t step_us : {2 * kSecond_us, -2 * kSecond_us}) {
    const Played run = Play({.media = Stepping(60 * kSecond_us, step_us),
                             .silent_from_us = 58 * kSecond_us,
                             .silent_to_us = 62 * kSecond_us});
    EXPECT_LE(run.Worst(), kPacket_us) << step_us;
    EXPECT_EQ(run.Jumps(), 1u) << step_us;
  }
}

TEST(TrackClockTest, ASendersClockFarFromTheTimeOnlyGivesThePace) {
  const int64_t years_us = 1000 * kSecond_us;
  const Played run = Play({.media = Drifting(200),
                           .length_us = 600 * kSecond_us,
                           .wall_error = [=](int64_t) { return -years_us / 2; },
                           .source = "rtcp"});
  EXPECT_LE(run.Worst(), 5'000);
}

TEST(TrackClockTest, TracksOfOneSenderShareItsClock) {
  // Its clock is 1,000 s off, and the video was placed 300 ms too late.
  const int64_t off_us = 1000 * kSecond_us;
  TrackClock audio;
  audio.AddAnchor({.media_us = 0,
                   .wall_us = off_us,
                   .uncertainty_us = 5'000,
                   .source = "rtcp"});
  EXPECT_EQ(audio.Map(0, 0, kPacket_us, nullptr).offset_us, 0);
  TrackClock video;
  video.AddAnchor({.media_us = 300'000,
                   .wall_us = off_us,
                   .uncertainty_us = 5'000,
                   .source = "rtcp"},
                  &audio);
  EXPECT_EQ(video.Map(300'000, 300'000, kPacket_us, &audio).offset_us,
            -300'000);
}

TEST(TrackClockTest, ATrackWithoutAnchorsFollowsItsSide) {
  TrackClock audio;
  TrackClock video;
  const MediaClock media = Drifting(300);
  for (int64_t true_us = 0; true_us < 600 * kSecond_us; true_us += kPacket_us) {
    if (true_us % kSecond_us == 0) {
      audio.AddAnchor({.media_us = media(true_us),
                       .wall_us = true_us + 40'000,
                       .uncertainty_us = 0,
                       .source = "ntp"});
    }
    const int64_t raw_us = media(true_us);
    const auto heard = audio.Map(raw_us, raw_us, kPacket_us, nullptr);
    const auto seen = video.Map(raw_us, raw_us, kPacket_us, &audio);
    ASSERT_LE(std::abs(heard.offset_us - seen.offset_us), 2'500) << true_us;
  }
}

TEST(TrackClockTest, ARestartGoesOnWithTheSameMapping) {
  TrackClock before;
  const Scene first = {.media = Stepping(60 * kSecond_us, -2 * kSecond_us)};
  const Played run = Play(first, &before);
  ASSERT_FALSE(run.changes.empty());
  TrackClock after;
  after.Restore(run.changes.back());
  const int64_t true_us = 120 * kSecond_us;
  const int64_t raw_us = first.media(true_us);
  EXPECT_LE(std::abs(raw_us +
                     after.Map(raw_us, raw_us, kPacket_us, nullptr).offset_us -
                     true_us),
            kPacket_us);
}

TEST(TrackClockTest, NonsenseDoesNoHarm) {
  std::mt19937_64 random(11);
  TrackClock clock;
  int64_t last_us = INT64_MIN;
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 3 == 0) {
      clock.AddAnchor({.media_us = static_cast<int64_t>(
                           random() % (2 * limits::kSessionMax_us)),
                       .wall_us = static_cast<int64_t>(
                           random() % (4 * limits::kSessionMax_us)),
                       .uncertainty_us = random(),
                       .source = random() % 2 == 0 ? "rtcp" : "ntp"});
    }
    const int64_t raw_us =
        static_cast<int64_t>(random() % limits::kSessionMax_us);
    const auto mapped = clock.Map(raw_us, raw_us, random(), nullptr);
    const int64_t session_us = raw_us + mapped.offset_us;
    ASSERT_GE(session_us, last_us);
    ASSERT_GE(session_us, 0);
    last_us = session_us;
  }
}

}  // namespace
}  // namespace diptych::ingest
