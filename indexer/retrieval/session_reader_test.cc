#include "indexer/retrieval/session_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/packet_reader.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/test_archive.h"
#include "indexer/retrieval/test_media.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A session made up packet by packet: no codec looks into its payloads.
// Track 1: the resident's camera, a key frame every 2 s, 25 pictures a second.
// Track 2: the resident's microphone. Track 3: the clerk's microphone.
class MadeUp {
 public:
  explicit MadeUp(int64_t seconds, int64_t from_s = 0) {
    AddTrack(1, stored::v1::SIDE_RESIDENT, api::v1::CODEC_VP8);
    AddTrack(2, stored::v1::SIDE_RESIDENT, api::v1::CODEC_G711_ALAW);
    AddTrack(3, stored::v1::SIDE_CLERK, api::v1::CODEC_G711_ALAW);
    for (int64_t at = from_s * kSecond; at < (from_s + seconds) * kSecond;
         at += 20'000) {
      if (at % 40'000 == 0) {
        Add(1, at, at, at % (2 * kSecond) == 0);
      }
      Add(2, at + 1, at + 1, true);
      Add(3, at + 2, at + 2, true);
    }
  }

  void AddTrack(uint32_t id, stored::v1::Side side, api::v1::Codec codec) {
    stored::v1::Track track;
    track.set_track_id(id);
    track.set_side(side);
    track.set_codec(codec);
    if (codec == api::v1::CODEC_VP8) {
      track.set_width(640);
      track.set_height(360);
    } else {
      track.set_sample_rate_hz(8000);
      track.set_channels(1);
    }
    media.tracks.push_back(track);
  }

  void Add(uint32_t track, int64_t pts_us, int64_t dts_us, bool key_frame) {
    TestPacket packet;
    packet.payload = absl::StrCat("track ", track, " at ", pts_us);
    packet.info.track_id = track;
    packet.info.sequence = ++sequence_;
    packet.info.pts_us = pts_us;
    packet.info.dts_us = dts_us;
    packet.info.duration_us = 20'000;
    packet.info.key_frame = key_frame;
    packet.info.payload_bytes = static_cast<uint32_t>(packet.payload.size());
    media.packets.push_back(packet);
  }

  static constexpr int64_t kSecond = 1'000'000;
  TestMedia media;

 private:
  uint64_t sequence_ = 0;
};

constexpr int64_t kSecond = MadeUp::kSecond;

struct ReadResult {
  ReadPlan plan;
  std::vector<ReadPacket> packets;

  std::vector<ReadPacket> Of(uint32_t track) const {
    std::vector<ReadPacket> found;
    for (const ReadPacket& packet : packets) {
      if (packet.info.track_id == track) found.push_back(packet);
    }
    return found;
  }
};

class SessionReaderTest : public ::testing::Test {
 protected:
  absl::StatusOr<ReadResult> Read(const base::Uuid& session_id,
                                  const ReadRange& range) {
    SessionReader session(archive_.sealed(), archive_.media(session_id));
    auto plan = PlanRead(range, &session);
    if (!plan.ok()) return plan.status();
    ReadResult result;
    result.plan = *plan;
    PacketReader reader(&result.plan, &session);
    while (true) {
      auto batch = reader.NextBatch();
      if (!batch.ok()) return batch.status();
      if (!batch->has_value()) return result;
      result.packets.insert(result.packets.end(), (*batch)->begin(),
                            (*batch)->end());
    }
  }

  TestArchive archive_;
};

TEST_F(SessionReaderTest, WholeSessionInOrder) {
  const MadeUp made(25);
  const auto id = archive_.AddSession({{made.media}});
  // Three segments, so three keys.
  EXPECT_EQ(archive_.media(id).chunks.back().segment, 2u);
  const auto read = Read(id, {});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->plan.whole_session);
  EXPECT_EQ(read->plan.from_us, 0);
  ASSERT_EQ(read->packets.size(), made.media.packets.size());
  for (size_t i = 0; i < read->packets.size(); ++i) {
    EXPECT_EQ(read->packets[i].info, made.media.packets[i].info);
    EXPECT_EQ(read->packets[i].payload, made.media.packets[i].payload);
  }
}

TEST_F(SessionReaderTest, ClipBeginsAtTheKeyFrameBefore) {
  const auto id = archive_.AddSession({{MadeUp(10).media}});
  ReadRange range;
  range.from_us = 5 * kSecond;
  range.to_us = 7 * kSecond;
  const auto read = Read(id, range);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->plan.whole_session);
  EXPECT_EQ(read->plan.from_us, 4 * kSecond);
  EXPECT_EQ(read->plan.to_us, 7 * kSecond);
  const auto video = read->Of(1);
  EXPECT_EQ(video.front().info.pts_us, 4 * kSecond);
  EXPECT_TRUE(video.front().info.key_frame);
  EXPECT_EQ(video.back().info.pts_us, 7 * kSecond - 40'000);
  EXPECT_EQ(video.size(), 75u);
  EXPECT_EQ(read->Of(2).front().info.pts_us, 4 * kSecond + 1);
  EXPECT_EQ(read->Of(3).front().info.pts_us, 4 * kSecond + 2);
  EXPECT_LT(read->Of(3).back().info.pts_us, 7 * kSecond);
  // Nothing else is opened.
  EXPECT_LE(read->plan.chunks.size(), 5u);
}

TEST_F(SessionReaderTest, AKeyFrameAtTheBeginIsTheBegin) {
  const auto id = archive_.AddSession({{MadeUp(10).media}});
  ReadRange range;
  range.from_us = 6 * kSecond;
  const auto read = Read(id, range);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->plan.from_us, 6 * kSecond);
  EXPECT_EQ(read->Of(1).front().info.pts_us, 6 * kSecond);
}

TEST_F(SessionReaderTest, OneSideOnly) {
  const auto id = archive_.AddSession({{MadeUp(4).media}});
  ReadRange range;
  range.sides = {stored::v1::SIDE_CLERK};
  const auto read = Read(id, range);
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->plan.tracks.size(), 1u);
  EXPECT_EQ(read->plan.tracks[0].track_id(), 3u);
  EXPECT_EQ(read->packets.size(), read->Of(3).size());
  EXPECT_FALSE(read->plan.whole_session);

  // Audio alone begins where it is asked to.
  range.from_us = kSecond + 500'000;
  const auto clip = Read(id, range);
  ASSERT_TRUE(clip.ok());
  EXPECT_EQ(clip->packets.front().info.pts_us, kSecond + 500'002);
}

TEST_F(SessionReaderTest, PicturesThatLaterOnesNeedAreKept) {
  MadeUp made(0);
  // Decoding order I P B B; the P is shown last.
  for (int64_t group = 0; group < 100; ++group) {
    const int64_t at = group * 160'000;
    made.Add(1, at, at - 80'000, group % 5 == 0);
    made.Add(1, at + 120'000, at - 40'000, false);
    made.Add(1, at + 40'000, at, false);
    made.Add(1, at + 80'000, at + 40'000, false);
  }
  const auto id = archive_.AddSession({{made.media}});
  ReadRange range;
  range.from_us = 900'000;
  // Between the last B and the P of the group at 1.6 s.
  range.to_us = 1'600'000 + 100'000;
  const auto read = Read(id, range);
  ASSERT_TRUE(read.ok());
  std::vector<int64_t> pts;
  for (const ReadPacket& packet : read->Of(1)) {
    pts.push_back(packet.info.pts_us);
  }
  EXPECT_EQ(pts.front(), 800'000);
  ASSERT_EQ(pts.size(), 24u);
  EXPECT_EQ(std::vector<int64_t>(pts.end() - 4, pts.end()),
            (std::vector<int64_t>{1'600'000, 1'720'000, 1'640'000, 1'680'000}));

  // Before the first B nothing needs the P.
  range.to_us = 1'600'000 + 20'000;
  const auto shorter = Read(id, range);
  ASSERT_TRUE(shorter.ok());
  EXPECT_EQ(shorter->Of(1).back().info.pts_us, 1'600'000);
}

TEST_F(SessionReaderTest, OverlappingChunksAreMerged) {
  const MadeUp made(6);
  const auto id = archive_.AddSession({{made.media}});
  // The clerk's track came later, from a spool: as chunks of its own whose
  // windows lie over the others'.
  TestMedia late;
  late.tracks = made.media.tracks;
  TestMedia early = late;
  for (const TestPacket& packet : made.media.packets) {
    (packet.info.track_id == 3 ? late : early).packets.push_back(packet);
  }
  const auto merged = archive_.AddSession({{early}, {late}});
  const auto expected = Read(id, {});
  const auto read = Read(merged, {});
  ASSERT_TRUE(expected.ok());
  ASSERT_TRUE(read.ok()) << read.status();
  // Equal parameters: no further tracks.
  EXPECT_EQ(read->plan.tracks.size(), 3u);
  ASSERT_EQ(read->packets.size(), expected->packets.size());
  for (size_t i = 0; i < read->packets.size(); ++i) {
    EXPECT_EQ(read->packets[i].info, expected->packets[i].info) << i;
  }
}

TEST_F(SessionReaderTest, SpansAndEpochs) {
  MadeUp first(4);
  MadeUp second(4, 4);
  // VP8's key frames say their size; G.711 does not say its rate.
  second.media.tracks[0].set_width(1280);
  second.media.tracks[1].set_sample_rate_hz(16000);
  MadeUp third(4, 8);
  const auto id = archive_.AddSession(
      {{first.media}, {second.media, true}, {third.media, true}});
  const auto read = Read(id, {});
  ASSERT_TRUE(read.ok()) << read.status();
  // The other rate is a track of its own; the first one comes back to its.
  ASSERT_EQ(read->plan.tracks.size(), 4u);
  std::map<size_t, size_t> sounds;
  for (const ReadPacket& packet : read->Of(2)) ++sounds[packet.output_track];
  EXPECT_EQ(sounds, (std::map<size_t, size_t>{{1, 400}, {3, 200}}));
  for (const ReadPacket& packet : read->Of(1)) {
    EXPECT_EQ(packet.output_track, 0u);
  }

  ReadRange range;
  range.from_us = 11 * kSecond;
  const auto clip = Read(id, range);
  ASSERT_TRUE(clip.ok());
  EXPECT_EQ(clip->plan.tracks.size(), 3u);
}

TEST_F(SessionReaderTest, ASpoolThatDrainsFindsItsPlace) {
  const MadeUp made(120);
  const auto is_clerk = [](const TestPacket& packet) {
    return packet.info.track_id == 3;
  };
  // What packets of one side from so many seconds on are.
  const auto part = [&](bool clerk, int64_t from_s, int64_t to_s) {
    TestMedia media;
    media.tracks = made.media.tracks;
    for (const TestPacket& packet : made.media.packets) {
      if (is_clerk(packet) == clerk && packet.info.dts_us >= from_s * kSecond &&
          packet.info.dts_us < to_s * kSecond) {
        media.packets.push_back(packet);
      }
    }
    return media;
  };
  // The clerk's first minute comes while the resident's second one goes on.
  std::vector<TestArchive::SpanOfMedia> spans = {{part(false, 0, 60)}};
  for (int64_t i = 0; i < 60; ++i) {
    spans.push_back({part(false, 60 + i, 61 + i), false, 0});
    spans.push_back({part(true, i, i + 1), false, 0});
  }
  const auto id = archive_.AddSession(spans);
  const auto read = Read(id, {});
  ASSERT_TRUE(read.ok()) << read.status();
  std::vector<media::PacketInfo> expected;
  for (const TestPacket& packet : made.media.packets) {
    if (!is_clerk(packet) || packet.info.dts_us < 60 * kSecond) {
      expected.push_back(packet.info);
    }
  }
  ASSERT_EQ(read->packets.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(read->packets[i].info, expected[i]) << i;
  }
  EXPECT_EQ(read->plan.tracks.size(), 3u);
  EXPECT_FALSE(read->plan.chunks.empty());

  ReadRange range;
  range.from_us = 20 * kSecond;
  range.to_us = 22 * kSecond;
  const auto clip = Read(id, range);
  ASSERT_TRUE(clip.ok()) << clip.status();
  EXPECT_EQ(clip->Of(1).size(), 50u);
  EXPECT_EQ(clip->Of(3).size(), 100u);
  EXPECT_LE(clip->plan.chunks.size(), 8u);
}

TEST_F(SessionReaderTest, SpansThatComeAgain) {
  // The microphone's rate flips every 3 s: A, B, A, B.
  const auto tracks_of = [&](bool a_in_band, bool b_in_band, size_t parts) {
    std::vector<TestArchive::SpanOfMedia> spans;
    for (size_t i = 0; i < parts; ++i) {
      MadeUp made(3, static_cast<int64_t>(i) * 3);
      const bool b = i % 2 == 1;
      made.media.tracks[1].set_sample_rate_hz(b ? 16000 : 8000);
      made.media.tracks[1].set_parameters_in_band(b ? b_in_band : a_in_band);
      spans.push_back({made.media, false, std::nullopt});
      if (i >= 2) spans.back().again = i % 2;
    }
    const auto read = Read(archive_.AddSession(spans), {});
    EXPECT_TRUE(read.ok()) << read.status();
    std::vector<size_t> outputs;
    if (!read.ok()) return outputs;
    for (const ReadPacket& packet : read->Of(2)) {
      if (outputs.empty() || outputs.back() != packet.output_track) {
        outputs.push_back(packet.output_track);
      }
    }
    EXPECT_EQ(read->Of(2).size(), parts * 150);
    return outputs;
  };
  EXPECT_THAT(tracks_of(false, false, 4), ElementsAre(1, 3, 1, 3));
  EXPECT_THAT(tracks_of(true, true, 4), ElementsAre(1));
  // B could follow A, but A comes again and could not follow B.
  EXPECT_THAT(tracks_of(false, true, 2), ElementsAre(1));
  EXPECT_THAT(tracks_of(false, true, 4), ElementsAre(1, 3, 1, 3));
}

TEST_F(SessionReaderTest, ASegmentWithoutAKeyFramePlaysFromTheOneBefore) {
  MadeUp made(20);
  for (TestPacket& packet : made.media.packets) {
    if (packet.info.track_id == 1 && packet.info.pts_us > 6 * kSecond &&
        packet.info.pts_us < 16 * kSecond) {
      packet.info.key_frame = false;
    }
  }
  const auto id = archive_.AddSession({{made.media}});
  ReadRange range;
  range.from_us = 12 * kSecond;
  const auto read = Read(id, range);
  ASSERT_TRUE(read.ok()) << read.status();
  const auto pictures = read->Of(1);
  ASSERT_FALSE(pictures.empty());
  EXPECT_TRUE(pictures.front().info.key_frame);
  EXPECT_EQ(pictures.front().info.pts_us, 6 * kSecond);
  EXPECT_EQ(pictures.size(), 14u * 25u);
  EXPECT_EQ(read->plan.from_us, 6 * kSecond);
}

TEST_F(SessionReaderTest, BadRangesSaySo) {
  const auto id = archive_.AddSession({{MadeUp(4).media}});
  ReadRange range;
  range.from_us = 3 * kSecond;
  range.to_us = 3 * kSecond;
  EXPECT_EQ(Read(id, range).status().code(),
            absl::StatusCode::kInvalidArgument);
  range.from_us = 9 * kSecond;
  range.to_us.reset();
  EXPECT_EQ(Read(id, range).status().code(), absl::StatusCode::kOutOfRange);
  range.from_us.reset();
  range.to_us = -1;
  EXPECT_EQ(Read(id, range).status().code(), absl::StatusCode::kOutOfRange);

  MadeUp one_side(1);
  one_side.media.tracks.pop_back();
  std::erase_if(one_side.media.packets,
                [](const TestPacket& p) { return p.info.track_id == 3; });
  const auto other = archive_.AddSession({{one_side.media}});
  range = ReadRange();
  range.sides = {stored::v1::SIDE_CLERK};
  EXPECT_EQ(Read(other, range).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SessionReaderTest, AChangedChunkIsNamed) {
  const auto id = archive_.AddSession({{MadeUp(6).media}}, {4});
  const auto read = Read(id, {});
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
  const ChunkRef& chunk = archive_.media(id).chunks[4];
  EXPECT_THAT(
      std::string(read.status().message()),
      AllOf(HasSubstr(id.ToString()), HasSubstr("chunk 4"),
            HasSubstr(absl::StrCat("second ", chunk.start_us / kSecond)),
            HasSubstr(absl::StrCat("log position ", chunk.position))));
  // What lies before it can still be read.
  ReadRange range;
  range.to_us = 3 * kSecond;
  EXPECT_TRUE(Read(id, range).ok());
}

TEST_F(SessionReaderTest, AByteThatRottedIsNamed) {
  const auto id = archive_.AddSession({{MadeUp(3).media}});
  const ChunkRef& chunk = archive_.media(id).chunks[1];
  archive_.DamageRecord(chunk.position, chunk.record_bytes / 2);
  const auto read = Read(id, {});
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(read.status().message()),
              AllOf(HasSubstr("chunk 1"),
                    HasSubstr(absl::StrCat("log position ", chunk.position))));
}

TEST_F(SessionReaderTest, SwappedAndMissingChunksAreNoticed) {
  const auto id = archive_.AddSession({{MadeUp(5).media}});
  SessionMedia& media = archive_.media(id);
  const SessionMedia good = media;
  std::swap(media.chunks[1].position, media.chunks[2].position);
  EXPECT_EQ(Read(id, {}).status().code(), absl::StatusCode::kDataLoss);

  media = good;
  media.chunks.erase(media.chunks.begin() + 2);
  const auto read = Read(id, {});
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("chunk 2"));

  // A chunk of another session in its place.
  const auto other = archive_.AddSession({{MadeUp(5).media}});
  media = good;
  media.chunks[3].position = archive_.media(other).chunks[3].position;
  EXPECT_EQ(Read(id, {}).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(SessionReaderTest, WithoutAKeyNothingOpens) {
  const auto id = archive_.AddSession({{MadeUp(2).media}});
  const std::vector<seal::KeyPair> others = [] {
    std::vector<seal::KeyPair> keys;
    keys.push_back(seal::KeyPair::Generate("stranger"));
    return keys;
  }();
  SealedArchive sealed = archive_.sealed();
  sealed.keys = &others;
  SessionReader session(sealed, archive_.media(id));
  EXPECT_EQ(PlanRead({}, &session).status().code(),
            absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace diptych::indexer
