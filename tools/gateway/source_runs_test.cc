#include "tools/gateway/source_runs.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {
namespace {

constexpr absl::Duration kNow = absl::Seconds(100);
constexpr absl::Duration kEvery = limits::kSourceDigestEvery;

std::vector<api::v1::Track> Tracks(const std::vector<uint32_t>& ids) {
  std::vector<api::v1::Track> tracks;
  for (const uint32_t id : ids) {
    api::v1::Track& track = tracks.emplace_back();
    track.set_track_id(id);
    track.set_codec(id % 2 == 1 ? api::v1::CODEC_VP8 : api::v1::CODEC_OPUS);
  }
  return tracks;
}

api::v1::Packet PacketOf(uint32_t track, int64_t time_us = 0) {
  api::v1::Packet packet;
  packet.set_track_id(track);
  packet.set_pts_us(time_us);
  packet.set_dts_us(time_us);
  packet.set_payload("x");
  return packet;
}

void Add(SourceRuns* runs, const api::v1::Packet& packet,
         absl::Duration now = kNow) {
  runs->Add(packet, base::Sha256(packet.payload()), now);
}

// "TRACK:FIRST-LAST/PACKETS" of each.
std::string Take(SourceRuns* runs) {
  std::string text;
  for (const auto& digest : runs->TakeStatements(absl::UnixEpoch())) {
    absl::StrAppend(&text, text.empty() ? "" : " ", digest.track_id(), ":",
                    digest.first_sequence(), "-", digest.last_sequence(), "/",
                    digest.packets());
    EXPECT_EQ(digest.root().size(), digest.packets() == 0 ? 0 : 32);
  }
  return text;
}

TEST(SourceRunsTest, EveryTrackOfTheSideIsStatedUpToTheSameNumber) {
  SourceRuns runs;
  runs.SetTracks(Tracks({1, 2, 3}));
  EXPECT_EQ(Take(&runs), "");
  Add(&runs, PacketOf(1));
  Add(&runs, PacketOf(2));
  Add(&runs, PacketOf(1));
  EXPECT_EQ(Take(&runs), "1:1-3/2 2:1-3/1 3:1-3/0");
  EXPECT_EQ(Take(&runs), "");
  Add(&runs, PacketOf(3));
  EXPECT_EQ(Take(&runs), "1:4-4/0 2:4-4/0 3:4-4/1");
}

TEST(SourceRunsTest, ATrackBeginsWhereItIsOpenedAndEndsWhereItGoes) {
  SourceRuns runs;
  runs.SetTracks(Tracks({1}));
  Add(&runs, PacketOf(1));
  runs.SetTracks(Tracks({1, 2}));
  Add(&runs, PacketOf(1));
  Add(&runs, PacketOf(2));
  EXPECT_EQ(Take(&runs), "1:1-3/2 2:2-3/1");
  runs.SetTracks(Tracks({2}));
  Add(&runs, PacketOf(2));
  EXPECT_EQ(Take(&runs), "2:4-4/1");
  // Back again: what it did not send was not its own.
  runs.SetTracks(Tracks({1, 2}));
  Add(&runs, PacketOf(1));
  EXPECT_EQ(Take(&runs), "1:5-5/1 2:5-5/0");
}

TEST(SourceRunsTest, OnlyVideoHasKeyFrames) {
  const auto root = [](uint32_t track, bool key_frame) {
    SourceRuns runs;
    runs.SetTracks(Tracks({track}));
    api::v1::Packet packet = PacketOf(track);
    packet.set_key_frame(key_frame);
    Add(&runs, packet);
    return runs.TakeStatements(absl::UnixEpoch())[0].root();
  };
  EXPECT_NE(root(1, true), root(1, false));
  EXPECT_EQ(root(2, true), root(2, false));
}

TEST(SourceRunsTest, ByTheClockTheyAreDueTenSecondsAfterTheOldestPacket) {
  SourceRuns runs;
  runs.SetTracks(Tracks({1}));
  EXPECT_EQ(runs.DueAt(), std::nullopt);
  Add(&runs, PacketOf(1));
  Add(&runs, PacketOf(1), kNow + kEvery / 2);
  EXPECT_EQ(runs.DueAt(), kNow + kEvery);
  const api::v1::Packet next = PacketOf(1, 100'000'000);
  EXPECT_FALSE(runs.IsDueBefore(next, kNow + kEvery - absl::Milliseconds(1),
                                /*repeatable=*/false));
  EXPECT_TRUE(runs.IsDueBefore(next, kNow + kEvery, /*repeatable=*/false));
  Take(&runs);
  EXPECT_EQ(runs.DueAt(), std::nullopt);
  EXPECT_FALSE(runs.IsDueBefore(next, kNow + 2 * kEvery, false));
}

TEST(SourceRunsTest, RepeatableOnesAreDueByTheirOwnTimesAlone) {
  SourceRuns runs;
  runs.SetTracks(Tracks({1}));
  const auto due = [&](int64_t time_us, absl::Duration now) {
    return runs.IsDueBefore(PacketOf(1, time_us), now, /*repeatable=*/true);
  };
  Add(&runs, PacketOf(1, 5'000'000));
  EXPECT_FALSE(due(14'999'999, kNow));
  EXPECT_FALSE(due(14'999'999, kNow + 100 * kEvery));
  EXPECT_TRUE(due(15'000'000, kNow));
  // A clock that jumped back.
  EXPECT_TRUE(due(-5'000'000, kNow));
}

TEST(SourceRunsTest, ATrackThatIsFullIsDueBeforeItsNextPacket) {
  SourceRuns runs;
  runs.SetTracks(Tracks({1, 2}));
  for (size_t i = 0; i < limits::kMaxSourceRun_packets; ++i) {
    EXPECT_FALSE(runs.IsDueBefore(PacketOf(1), kNow, true));
    EXPECT_FALSE(runs.IsDueBefore(PacketOf(1), kNow, false));
    Add(&runs, PacketOf(1));
  }
  EXPECT_TRUE(runs.IsDueBefore(PacketOf(1), kNow, true));
  EXPECT_TRUE(runs.IsDueBefore(PacketOf(1), kNow, false));
  EXPECT_FALSE(runs.IsDueBefore(PacketOf(2), kNow, true));
}

TEST(SourceRunsTest, WhatASpoolBringsBack) {
  SourceRuns runs;
  runs.SetTracks(Tracks({1, 2}));
  for (const uint64_t number : {5, 6, 9, 10}) {
    runs.ContinueAt(number);
    Add(&runs, PacketOf(1));
  }
  api::v1::SourceDigest digest;
  digest.set_track_id(1);
  digest.set_last_sequence(10);
  runs.Covered(digest);
  runs.ContinueAt(11);
  Add(&runs, PacketOf(1));
  // 7 and 8 are missing: of what came before nothing can be said.
  EXPECT_EQ(Take(&runs), "1:11-11/1 2:9-11/0");

  // A statement of packets that were durable, and are not here.
  digest.set_track_id(2);
  digest.set_last_sequence(20);
  runs.Covered(digest);
  runs.ContinueAt(21);
  Add(&runs, PacketOf(2));
  EXPECT_EQ(Take(&runs), "1:21-21/0 2:21-21/1");
}

TEST(SourceRunsTest, NumbersGrow) {
  SourceRuns runs;
  runs.SetTracks(Tracks({1}));
  Add(&runs, PacketOf(1));
  runs.Move(10);
  Add(&runs, PacketOf(1));
  runs.Renumber(10, 5);
  EXPECT_EQ(Take(&runs), "1:16-17/2");
  Add(&runs, PacketOf(1));
  // What another process sent lies behind it now, or in its middle: it would
  // be a statement about that too.
  runs.Renumber(18, 5);
  EXPECT_EQ(Take(&runs), "");
  Add(&runs, PacketOf(1));
  Add(&runs, PacketOf(1));
  runs.Renumber(24, 3);
  Add(&runs, PacketOf(1));
  EXPECT_EQ(Take(&runs), "1:29-29/1");

  api::v1::SourceDigest digest;
  digest.set_first_sequence(4);
  digest.set_last_sequence(9);
  RenumberStatement(9, 5, &digest);
  EXPECT_EQ(digest.last_sequence(), 9u);
  RenumberStatement(3, 5, &digest);
  EXPECT_EQ(digest.first_sequence(), 9u);
  EXPECT_EQ(digest.last_sequence(), 14u);
}

}  // namespace
}  // namespace diptych::gateway
