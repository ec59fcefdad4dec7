#include "indexer/retrieval/session_export.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/retrieval/test_archive.h"
#include "indexer/retrieval/test_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kSecond = 1'000'000;

class Receiver : public ExportReceiver {
 public:
  absl::Status Start(api::v1::ReadStarted s) override {
    EXPECT_FALSE(started.has_value());
    started = std::move(s);
    return absl::OkStatus();
  }
  absl::Status Write(uint64_t offset, absl::string_view bytes) override {
    EXPECT_TRUE(started.has_value());
    file.Write(offset, bytes);
    return absl::OkStatus();
  }
  absl::Status Flush() override {
    bytes_at_flush.push_back(file.bytes().size());
    return bytes_at_flush.size() < most_flushes
               ? absl::OkStatus()
               : absl::CancelledError("enough");
  }

  std::optional<api::v1::ReadStarted> started;
  FileBytes file;
  std::vector<size_t> bytes_at_flush;
  size_t most_flushes = SIZE_MAX;
};

class SessionExportTest : public ::testing::Test {
 protected:
  SessionExportTest() {
    resident_ = ReadMedia(OwnMedia("janus-h264-opus-resident.mkv"));
    MakeSide(stored::v1::SIDE_RESIDENT, 1, &resident_);
    clerk_ = ReadMedia(OwnMedia("janus-h264-opus-clerk.mkv"));
    MakeSide(stored::v1::SIDE_CLERK, 11, &clerk_);
    both_ = resident_;
    both_.tracks.insert(both_.tracks.end(), clerk_.tracks.begin(),
                        clerk_.tracks.end());
    both_.packets.insert(both_.packets.end(), clerk_.packets.begin(),
                         clerk_.packets.end());
  }

  absl::StatusOr<api::v1::ReadFinished> Export(const base::Uuid& id,
                                               const ReadRange& range,
                                               api::v1::Container container,
                                               Receiver* receiver) {
    SessionReader session(archive_.sealed(), archive_.media(id));
    return ExportSession(range, container, &session, receiver);
  }

  TestArchive archive_;
  TestMedia resident_;
  TestMedia clerk_;
  TestMedia both_;
};

TEST_F(SessionExportTest, WholeSessionComesBackFromEveryContainer) {
  const auto id = archive_.AddSession({{both_}});
  for (const auto container :
       {api::v1::CONTAINER_MATROSKA, api::v1::CONTAINER_MP4,
        api::v1::CONTAINER_FRAGMENTED_MP4}) {
    SCOPED_TRACE(api::v1::Container_Name(container));
    Receiver receiver;
    const auto finished = Export(id, {}, container, &receiver);
    ASSERT_TRUE(finished.ok()) << finished.status();
    EXPECT_EQ(finished->file_bytes(), receiver.file.bytes().size());
    EXPECT_EQ(receiver.started->file_origin_us(), 0);
    const TestMedia read = ReadMediaBytes(receiver.file.bytes());
    ASSERT_EQ(read.tracks.size(), 4u);
    ASSERT_EQ(finished->tracks_size(), 4);
    for (uint32_t i = 0; i < 4; ++i) {
      const auto& track = receiver.started->tracks(static_cast<int>(i));
      const auto source = both_.Of(track.track_id());
      ExpectSamePackets(source, read, i + 1, 0);
      const auto& totals = finished->tracks(static_cast<int>(i));
      EXPECT_EQ(totals.track_id(), track.track_id());
      EXPECT_EQ(totals.packets(), source.size());
    }
    // The first chunk's bytes have left before another is read.
    ASSERT_GT(receiver.bytes_at_flush.size(), archive_.media(id).chunks.size());
    EXPECT_GT(receiver.bytes_at_flush[0], 0u);
    EXPECT_LT(receiver.bytes_at_flush[0], receiver.file.bytes().size() / 4);
  }
}

TEST_F(SessionExportTest, WholeMatroskaIsTheStoredBytes) {
  const auto id = archive_.AddSession({{both_}});
  Receiver receiver;
  ASSERT_TRUE(Export(id, {}, api::v1::CONTAINER_MATROSKA, &receiver).ok());
  SessionReader session(archive_.sealed(), archive_.media(id));
  const std::string header = (*session.Span(0))->container_header();
  EXPECT_EQ(receiver.file.bytes().substr(0, header.size()), header);
  // A remuxed one is of known size and seekable; this one is live.
  Receiver one_side;
  ReadRange range;
  range.sides = {stored::v1::SIDE_RESIDENT};
  ASSERT_TRUE(Export(id, range, api::v1::CONTAINER_MATROSKA, &one_side).ok());
  EXPECT_NE(one_side.file.bytes().substr(0, header.size()), header);
  const TestMedia read = ReadMediaBytes(one_side.file.bytes());
  ASSERT_EQ(read.tracks.size(), 2u);
  ExpectSamePackets(both_.Of(1), read, 1, 0);
  ExpectSamePackets(both_.Of(2), read, 2, 0);
}

TEST_F(SessionExportTest, ClipOfOneSide) {
  const auto id = archive_.AddSession({{both_}});
  ReadRange range;
  range.sides = {stored::v1::SIDE_CLERK};
  range.from_us = 6 * kSecond;
  range.to_us = 11 * kSecond;
  for (const auto container :
       {api::v1::CONTAINER_MATROSKA, api::v1::CONTAINER_MP4,
        api::v1::CONTAINER_FRAGMENTED_MP4}) {
    SCOPED_TRACE(api::v1::Container_Name(container));
    Receiver receiver;
    const auto finished = Export(id, range, container, &receiver);
    ASSERT_TRUE(finished.ok()) << finished.status();
    const int64_t from_us = receiver.started->from_us();
    EXPECT_LE(from_us, *range.from_us);
    EXPECT_EQ(receiver.started->to_us(), *range.to_us);
    const TestMedia read = ReadMediaBytes(receiver.file.bytes());
    ASSERT_EQ(read.tracks.size(), 2u);
    for (uint32_t i = 0; i < 2; ++i) {
      std::vector<TestPacket> expected;
      for (const TestPacket& packet : both_.Of(11 + i)) {
        if (packet.info.pts_us >= from_us &&
            packet.info.pts_us < *range.to_us) {
          expected.push_back(packet);
        }
      }
      EXPECT_TRUE(expected.front().info.key_frame);
      ExpectSamePackets(expected, read, i + 1,
                        receiver.started->file_origin_us());
    }
  }
}

TEST_F(SessionExportTest, ParametersThatChangeMakeAFurtherTrack) {
  TestMedia first = resident_;
  TestMedia second = resident_;
  std::erase_if(first.packets, [](const TestPacket& p) {
    return p.info.dts_us >= 6 * kSecond;
  });
  std::erase_if(second.packets, [](const TestPacket& p) {
    return p.info.dts_us < 6 * kSecond;
  });
  // Another level in avcC.
  std::string config = second.tracks[0].codec_config();
  config[3] = static_cast<char>(config[3] + 1);
  second.tracks[0].set_codec_config(config);
  const auto id = archive_.AddSession({{first}, {second, true}});
  Receiver receiver;
  ASSERT_TRUE(Export(id, {}, api::v1::CONTAINER_MATROSKA, &receiver).ok());
  const TestMedia read = ReadMediaBytes(receiver.file.bytes());
  ASSERT_EQ(read.tracks.size(), 3u);
  ExpectSamePackets(first.Of(1), read, 1, 0);
  ExpectSamePackets(resident_.Of(2), read, 2, 0);
  ExpectSamePackets(second.Of(1), read, 3, 0);

  // Where the stream itself says what changed, a player follows in one track.
  second.tracks[0].set_parameters_in_band(true);
  const auto in_band = archive_.AddSession({{first}, {second, true}});
  Receiver one_track;
  ASSERT_TRUE(
      Export(in_band, {}, api::v1::CONTAINER_MATROSKA, &one_track).ok());
  const TestMedia followed = ReadMediaBytes(one_track.file.bytes());
  ASSERT_EQ(followed.tracks.size(), 2u);
  ExpectSamePackets(resident_.Of(1), followed, 1, 0);
}

TEST_F(SessionExportTest, Vp8GoesIntoWebmAndNotIntoMp4) {
  TestMedia media = ReadMedia(OwnMedia("janus-vp8-opus-clerk.webm"));
  MakeSide(stored::v1::SIDE_CLERK, 1, &media);
  const auto id = archive_.AddSession({{media}});
  Receiver refused;
  const auto status = Export(id, {}, api::v1::CONTAINER_MP4, &refused).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(refused.started.has_value());

  Receiver receiver;
  ASSERT_TRUE(Export(id, {}, api::v1::CONTAINER_WEBM, &receiver).ok());
  const TestMedia read = ReadMediaBytes(receiver.file.bytes());
  ASSERT_EQ(read.tracks.size(), 2u);
  ExpectSamePackets(media.Of(1), read, 1, 0);
  ExpectSamePackets(media.Of(2), read, 2, 0);
}

TEST_F(SessionExportTest, OpusPreSkipMovesNothing) {
  // OpusHead says that 3,840 samples, four packets, come out before the sound.
  TestMedia media = both_;
  for (stored::v1::Track& track : media.tracks) {
    if (track.codec() != api::v1::CODEC_OPUS) continue;
    std::string head = track.codec_config();
    head[10] = '\x00';
    head[11] = '\x0F';
    track.set_codec_config(head);
  }
  const auto id = archive_.AddSession({{media}});
  for (const auto container :
       {api::v1::CONTAINER_MATROSKA, api::v1::CONTAINER_MP4,
        api::v1::CONTAINER_FRAGMENTED_MP4}) {
    for (const bool whole : {true, false}) {
      SCOPED_TRACE(api::v1::Container_Name(container));
      ReadRange range;
      if (!whole) range.to_us = 1000 * kSecond;
      Receiver receiver;
      ASSERT_TRUE(Export(id, range, container, &receiver).ok());
      const TestMedia read = ReadMediaBytes(receiver.file.bytes());
      for (uint32_t i = 0; i < 4; ++i) {
        ExpectSamePackets(media.Of(media.tracks[i].track_id()), read, i + 1, 0);
      }
    }
  }
}

TEST_F(SessionExportTest, AChangedChunkEndsItWhereItIs) {
  const auto id = archive_.AddSession({{both_}}, {5});
  for (const auto container :
       {api::v1::CONTAINER_MATROSKA, api::v1::CONTAINER_MP4}) {
    Receiver receiver;
    const auto status = Export(id, {}, container, &receiver).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("chunk 5"));
    EXPECT_FALSE(receiver.file.bytes().empty());
  }
}

TEST_F(SessionExportTest, WhoHasEnoughCostsNoFurtherChunk) {
  // Reading on would meet the changed chunk.
  const auto id = archive_.AddSession({{both_}}, {3});
  for (const auto container :
       {api::v1::CONTAINER_MATROSKA, api::v1::CONTAINER_FRAGMENTED_MP4}) {
    Receiver receiver;
    receiver.most_flushes = 3;
    EXPECT_EQ(Export(id, {}, container, &receiver).status().code(),
              absl::StatusCode::kCancelled);
  }
}

TEST_F(SessionExportTest, NothingInTheRangeIsOutOfRange) {
  const auto id = archive_.AddSession({{both_}});
  Receiver receiver;
  ReadRange range;
  // The resident's first picture comes later than the first sound.
  range.sides = {stored::v1::SIDE_RESIDENT};
  range.from_us = 1;
  range.to_us = 2;
  EXPECT_EQ(
      Export(id, range, api::v1::CONTAINER_MATROSKA, &receiver).status().code(),
      absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(receiver.started.has_value());
}

}  // namespace
}  // namespace diptych::indexer
