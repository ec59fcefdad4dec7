#include "indexer/retrieval/remuxer.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "indexer/retrieval/test_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kChunk_us = 1'000'000;
constexpr int64_t kStart_us = 1'681'718'400'000'000;

// Remuxes as a reader does: chunk by chunk, by dts over all tracks.
absl::Status Remux(RemuxOptions options, const TestMedia& media,
                   FileBytes* file) {
  options.tracks = media.tracks;
  options.session_start_us = kStart_us;
  auto remuxer =
      Remuxer::Create(options, [&](uint64_t offset, absl::string_view bytes) {
        file->Write(offset, bytes);
        return absl::OkStatus();
      });
  if (!remuxer.ok()) return remuxer.status();
  std::vector<const TestPacket*> order;
  for (const TestPacket& packet : media.packets) order.push_back(&packet);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return a->info.dts_us < b->info.dts_us;
  });
  int64_t chunk_end_us = order.front()->info.dts_us + kChunk_us;
  for (const TestPacket* packet : order) {
    if (packet->info.dts_us >= chunk_end_us) {
      const absl::Status status = (*remuxer)->Flush();
      if (!status.ok()) return status;
      chunk_end_us = packet->info.dts_us + kChunk_us;
    }
    size_t track = 0;
    while (media.tracks[track].track_id() != packet->info.track_id) ++track;
    const absl::Status status =
        (*remuxer)->Write(track, packet->info, packet->payload);
    if (!status.ok()) return status;
  }
  const absl::Status status = (*remuxer)->Finish();
  EXPECT_EQ((*remuxer)->file_bytes(), file->bytes().size());
  return status;
}

// Two files as the two sides of a session.
TestMedia TwoSides(const std::string& resident, const std::string& clerk) {
  TestMedia both = ReadMedia(resident);
  MakeSide(stored::v1::SIDE_RESIDENT, 1, &both);
  TestMedia other = ReadMedia(clerk);
  MakeSide(stored::v1::SIDE_CLERK, 17, &other);
  both.tracks.insert(both.tracks.end(), other.tracks.begin(),
                     other.tracks.end());
  both.packets.insert(both.packets.end(), other.packets.begin(),
                      other.packets.end());
  return both;
}

void ExpectSameMedia(const TestMedia& media, const std::string& file,
                     int64_t origin_us) {
  const TestMedia read = ReadMediaBytes(file);
  ASSERT_EQ(read.tracks.size(), media.tracks.size());
  for (size_t i = 0; i < media.tracks.size(); ++i) {
    EXPECT_EQ(read.tracks[i].codec(), media.tracks[i].codec());
    EXPECT_EQ(read.tracks[i].codec_config(), media.tracks[i].codec_config());
    ExpectSamePackets(media.Of(media.tracks[i].track_id()), read,
                      static_cast<uint32_t>(i) + 1, origin_us);
  }
}

std::vector<api::v1::Container> ContainersFor(const TestMedia& media) {
  std::vector<api::v1::Container> containers;
  for (const auto container :
       {api::v1::CONTAINER_MATROSKA, api::v1::CONTAINER_MP4,
        api::v1::CONTAINER_FRAGMENTED_MP4, api::v1::CONTAINER_WEBM}) {
    FileBytes ignored;
    RemuxOptions options;
    options.container = container;
    options.tracks = media.tracks;
    if (Remuxer::Create(options, [](uint64_t, absl::string_view) {
          return absl::OkStatus();
        }).ok()) {
      containers.push_back(container);
    }
  }
  return containers;
}

void ExpectAllContainersKeep(const TestMedia& media, size_t containers) {
  const auto possible = ContainersFor(media);
  EXPECT_EQ(possible.size(), containers);
  for (const auto container : possible) {
    SCOPED_TRACE(api::v1::Container_Name(container));
    FileBytes file;
    RemuxOptions options;
    options.container = container;
    const absl::Status status = Remux(options, media, &file);
    ASSERT_TRUE(status.ok()) << status;
    ExpectSameMedia(media, file.bytes(), 0);
  }
}

TEST(RemuxerTest, BothSidesOfACallComeBack) {
  ExpectAllContainersKeep(TwoSides(OwnMedia("janus-h264-opus-resident.mkv"),
                                   OwnMedia("janus-h264-opus-clerk.mkv")),
                          3);
}

TEST(RemuxerTest, Vp8CallComesBack) {
  ExpectAllContainersKeep(TwoSides(OwnMedia("janus-vp8-opus-resident.webm"),
                                   OwnMedia("janus-vp8-opus-clerk.webm")),
                          2);
}

class RecordedMediaTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedMediaTest, ComesBackFromEveryContainer) {
  const std::string path = SharedMedia(GetParam());
  if (path.empty()) GTEST_SKIP() << "no recorded media: " << GetParam();
  TestMedia media = ReadMedia(path);
  for (const stored::v1::Track& track : media.tracks) {
    if (track.codec() == api::v1::CODEC_H264 &&
        track.codec_config().front() != 1) {
      GTEST_SKIP() << "not canonical before a gateway makes it so";
    }
  }
  MakeSide(stored::v1::SIDE_RESIDENT, 1, &media);
  for (const auto container : ContainersFor(media)) {
    SCOPED_TRACE(api::v1::Container_Name(container));
    FileBytes file;
    RemuxOptions options;
    options.container = container;
    const absl::Status status = Remux(options, media, &file);
    ASSERT_TRUE(status.ok()) << status;
    ExpectSameMedia(media, file.bytes(), 0);
    if (container != api::v1::CONTAINER_MP4) continue;
    // What is decoded and not shown stays so.
    const TestMedia read = ReadMediaBytes(file.bytes());
    for (size_t i = 0; i < media.tracks.size(); ++i) {
      const auto source = media.Of(media.tracks[i].track_id());
      const auto found = read.Of(static_cast<uint32_t>(i) + 1);
      // Opus decoders drop the pre-skip whether or not a file says so; an MP4
      // of ours says so.
      if (media.tracks[i].codec() == api::v1::CODEC_OPUS) continue;
      for (size_t j = 0; j < source.size() && j < found.size(); ++j) {
        EXPECT_EQ(found[j].info.discard, source[j].info.discard)
            << "track " << i << " packet " << j;
        EXPECT_GE(found[j].info.skip_start_samples + 1,
                  source[j].info.skip_start_samples)
            << "track " << i << " packet " << j;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, RecordedMediaTest,
    ::testing::Values(
        "call-75s-resident.mkv", "mediarecorder-avc1opus.mkv",
        "mediarecorder-avc1opus.mp4", "third_party/signed_test_h264.mp4",
        "third_party/signed_test_h265.mp4",
        "third_party/bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4",
        "third_party/h265_bframes.mp4",
        "third_party/iibbibb_editlist_videoonly.mp4",
        "third_party/sample_av1.mp4", "third_party/sample_opus_fragmented.mp4",
        "third_party/bbb_642x642_768kbps_30fps_vp9.webm",
        "third_party/bbb_480p_vp9_opus_1second.webm",
        "third_party/sample_with_invalid_nalu.mp4"),
    [](const auto& param) {
      std::string name = param.param;
      for (char& c : name) {
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      }
      return name;
    });

TEST(RemuxerTest, OriginBecomesTimeZero) {
  TestMedia media = TwoSides(OwnMedia("janus-h264-opus-resident.mkv"),
                             OwnMedia("janus-h264-opus-clerk.mkv"));
  constexpr int64_t kOrigin_us = 3600 * int64_t{1'000'000};
  for (TestPacket& packet : media.packets) {
    packet.info.pts_us += kOrigin_us;
    packet.info.dts_us += kOrigin_us;
  }
  for (const auto container : ContainersFor(media)) {
    SCOPED_TRACE(api::v1::Container_Name(container));
    FileBytes file;
    RemuxOptions options;
    options.container = container;
    options.origin_us = kOrigin_us;
    ASSERT_TRUE(Remux(options, media, &file).ok());
    ExpectSameMedia(media, file.bytes(), kOrigin_us);
  }
}

TEST(RemuxerTest, ALeadInOfOneSideLeavesTheOtherInStep) {
  // The resident's first pictures are there to be decoded only.
  TestMedia media = TwoSides(OwnMedia("janus-h264-opus-resident.mkv"),
                             OwnMedia("janus-h264-opus-clerk.mkv"));
  const std::vector<TestPacket> pictures = media.Of(1);
  ASSERT_FALSE(pictures[5].info.key_frame);
  const int64_t shown_us = pictures[5].info.pts_us;
  for (TestPacket& packet : media.packets) {
    if (packet.info.track_id == 1) {
      packet.info.discard = packet.info.pts_us < shown_us;
    }
  }
  FileBytes file;
  RemuxOptions options;
  options.container = api::v1::CONTAINER_MP4;
  ASSERT_TRUE(Remux(options, media, &file).ok());
  ExpectSameMedia(media, file.bytes(), 0);
  const TestMedia read = ReadMediaBytes(file.bytes());
  size_t discarded = 0;
  for (const TestPacket& packet : read.Of(1)) {
    EXPECT_EQ(packet.info.discard, packet.info.pts_us < shown_us - 1000);
    discarded += packet.info.discard ? 1 : 0;
  }
  EXPECT_EQ(discarded, 5u);
}

TEST(RemuxerTest, FirstBytesLeaveWithTheFirstFlush) {
  const TestMedia media = TwoSides(OwnMedia("janus-h264-opus-resident.mkv"),
                                   OwnMedia("janus-h264-opus-clerk.mkv"));
  for (const auto container : ContainersFor(media)) {
    SCOPED_TRACE(api::v1::Container_Name(container));
    FileBytes file;
    RemuxOptions options;
    options.container = container;
    options.tracks = media.tracks;
    auto remuxer =
        Remuxer::Create(options, [&](uint64_t offset, absl::string_view bytes) {
          file.Write(offset, bytes);
          return absl::OkStatus();
        });
    ASSERT_TRUE(remuxer.ok());
    size_t payload_bytes = 0;
    for (const TestPacket& packet : media.packets) {
      if (packet.info.track_id > 2 || packet.info.dts_us > 1'500'000) continue;
      ASSERT_TRUE(
          (*remuxer)
              ->Write(packet.info.track_id - 1, packet.info, packet.payload)
              .ok());
      payload_bytes += packet.payload.size();
    }
    ASSERT_TRUE((*remuxer)->Flush().ok());
    // Also its payload, though maybe not each track's last packet.
    EXPECT_GT(file.bytes().size(), payload_bytes / 2);
  }
}

TEST(RemuxerTest, CodecsThatAContainerRefusesAreNamed) {
  const auto create = [](api::v1::Container container, const TestMedia& media) {
    RemuxOptions options;
    options.container = container;
    options.tracks = media.tracks;
    return Remuxer::Create(
               options,
               [](uint64_t, absl::string_view) { return absl::OkStatus(); })
        .status();
  };
  absl::Status status =
      create(api::v1::CONTAINER_MP4,
             ReadMedia(OwnMedia("janus-vp8-opus-resident.webm")));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("VP8"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("Matroska or WebM"));
  status = create(api::v1::CONTAINER_WEBM,
                  ReadMedia(OwnMedia("janus-h264-opus-resident.mkv")));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("H.264"));
}

TEST(RemuxerTest, TheReceiversErrorComesBack) {
  const TestMedia media = ReadMedia(OwnMedia("janus-h264-opus-resident.mkv"));
  for (const auto container : ContainersFor(media)) {
    SCOPED_TRACE(api::v1::Container_Name(container));
    RemuxOptions options;
    options.container = container;
    options.tracks = media.tracks;
    size_t taken = 0;
    auto remuxer =
        Remuxer::Create(options, [&](uint64_t, absl::string_view bytes) {
          taken += bytes.size();
          return taken > 100'000 ? absl::CancelledError("enough")
                                 : absl::OkStatus();
        });
    ASSERT_TRUE(remuxer.ok());
    absl::Status status;
    for (const TestPacket& packet : media.packets) {
      status = (*remuxer)->Write(packet.info.track_id - 1, packet.info,
                                 packet.payload);
      if (status.ok()) status = (*remuxer)->Flush();
      if (!status.ok()) break;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  }
}

}  // namespace
}  // namespace diptych::indexer
