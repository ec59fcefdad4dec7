#include "tools/gateway/media_source.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/media/canonical.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {
namespace {

using api::v1::Packet;
using api::v1::Track;

// Everything that a source gave.
struct Reading {
  std::vector<Track> tracks;
  std::vector<Packet> packets;
  std::vector<std::vector<Track>> changes;
  std::vector<SourceProblem> problems;
  uint64_t unreadable = 0;
  int64_t earliest_pts_us = 0;

  std::vector<Packet> Of(uint32_t track_id) const {
    std::vector<Packet> found;
    for (const Packet& packet : packets) {
      if (packet.track_id() == track_id) found.push_back(packet);
    }
    return found;
  }
  int KeyFrames(uint32_t track_id) const {
    int count = 0;
    for (const Packet& packet : Of(track_id)) count += packet.key_frame();
    return count;
  }
  std::string HarmfulProblems() const {
    std::string text;
    for (const SourceProblem& problem : problems) {
      if (problem.harmless) continue;
      absl::StrAppend(&text, problem.what, " (", problem.place, ")\n");
    }
    return text;
  }
};

absl::StatusOr<Reading> Read(const std::string& input) {
  SourceOptions options;
  options.input = input;
  options.side = api::v1::SIDE_RESIDENT;
  options.first_track_id = 1;
  auto source = MediaSource::Open(options);
  if (!source.ok()) return source.status();
  Reading reading;
  reading.tracks = (*source)->tracks();
  reading.earliest_pts_us = (*source)->earliest_pts_us();
  while (auto item = (*source)->Next()) {
    if (auto* const packet = std::get_if<Packet>(&*item)) {
      reading.packets.push_back(std::move(*packet));
    } else {
      reading.changes.push_back(std::get<std::vector<Track>>(*item));
    }
  }
  reading.problems = (*source)->problems();
  reading.unreadable = (*source)->unreadable_packets();
  return reading;
}

// What holds for every packet of every file.
void ExpectSound(const Reading& reading) {
  std::map<uint32_t, Track> tracks;
  for (const Track& track : reading.tracks) tracks[track.track_id()] = track;
  std::map<uint32_t, int64_t> last_dts_us;
  for (const Packet& packet : reading.packets) {
    ASSERT_TRUE(tracks.contains(packet.track_id()));
    EXPECT_TRUE(
        media::CheckPayload(tracks[packet.track_id()], packet.payload()).ok());
    EXPECT_LE(packet.dts_us(), packet.pts_us());
    if (last_dts_us.contains(packet.track_id())) {
      EXPECT_LE(last_dts_us[packet.track_id()], packet.dts_us());
    }
    last_dts_us[packet.track_id()] = packet.dts_us();
    EXPECT_EQ(packet.sequence(), 0u);
  }
  for (const Track& track : reading.tracks) {
    EXPECT_TRUE(media::CheckTrack(track).ok());
  }
}

std::string OurMedia(const std::string& name) {
  return absl::StrCat("tests/data/", name);
}

// Recordings of others, which are not part of this repository.
std::optional<std::string> SharedMedia(const std::string& name) {
  const char* const folder = std::getenv("DIPTYCH_SHARED_DIR");
  const std::filesystem::path path =
      std::filesystem::path(folder == nullptr ? "../shared" : folder) /
      "media" / name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path.string();
}

#define READ_SHARED_OR_SKIP(reading, name)                         \
  const auto reading##_path = SharedMedia(name);                   \
  if (!reading##_path.has_value()) GTEST_SKIP() << name;           \
  const auto reading##_result = Read(*reading##_path);             \
  ASSERT_TRUE(reading##_result.ok()) << reading##_result.status(); \
  const Reading& reading = *reading##_result;                      \
  ExpectSound(reading)

TEST(MediaSourceTest, ReadsACallsSideWhosePictureChangesSize) {
  const auto result = Read(OurMedia("janus-h264-opus-resident.mkv"));
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectSound(*result);
  ASSERT_EQ(result->tracks.size(), 2u);
  EXPECT_EQ(result->tracks[0].codec(), api::v1::CODEC_H264);
  EXPECT_EQ(result->tracks[0].width(), 640u);
  EXPECT_EQ(result->tracks[0].source(), api::v1::SOURCE_CAMERA);
  EXPECT_EQ(result->tracks[1].codec(), api::v1::CODEC_OPUS);
  EXPECT_EQ(result->tracks[1].channels(), 2u);
  EXPECT_EQ(result->Of(1).size(), 162u);
  EXPECT_EQ(result->Of(2).size(), 600u);
  // Video begins a second after audio, and stays there.
  EXPECT_EQ(result->Of(1).front().pts_us(), 1'001'000);
  EXPECT_EQ(result->Of(2).front().pts_us(), 0);
  EXPECT_EQ(result->earliest_pts_us, 0);
  ASSERT_EQ(result->changes.size(), 1u);
  EXPECT_EQ(result->changes[0][0].width(), 480u);
  EXPECT_EQ(result->changes[0][0].height(), 270u);
  EXPECT_NE(result->changes[0][0].codec_config(),
            result->tracks[0].codec_config());
  EXPECT_EQ(result->HarmfulProblems(), "");
}

TEST(MediaSourceTest, ReadsVp8) {
  const auto result = Read(OurMedia("janus-vp8-opus-clerk.webm"));
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectSound(*result);
  EXPECT_EQ(result->tracks[0].codec(), api::v1::CODEC_VP8);
  EXPECT_TRUE(result->tracks[0].codec_config().empty());
  EXPECT_EQ(result->Of(1).size(), 144u);
  EXPECT_EQ(result->Of(2).size(), 500u);
  EXPECT_EQ(result->HarmfulProblems(), "");
}

TEST(MediaSourceTest, TrackIdsBeginWhereTheyAreTold) {
  SourceOptions options;
  options.input = OurMedia("janus-vp8-opus-clerk.webm");
  options.side = api::v1::SIDE_CLERK;
  options.first_track_id = 9;
  const auto source = MediaSource::Open(options);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->tracks()[0].track_id(), 9u);
  EXPECT_EQ((*source)->tracks()[1].track_id(), 10u);
  EXPECT_EQ((*source)->tracks()[1].side(), api::v1::SIDE_CLERK);
  EXPECT_FALSE((*source)->live());
  EXPECT_NEAR((*source)->duration_us() / 1e6, 10, 1);
}

TEST(MediaSourceTest, NamesWhatIsNotThere) {
  EXPECT_TRUE(absl::IsNotFound(Read("no/such/file.mkv").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Read("gopher://host/1").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Read("tests/data").status()));
}

TEST(MediaSourceTest, RefusesWhatIsNoMedia) {
  const std::string path = absl::StrCat(testing::TempDir(), "/noise.mp4");
  std::ofstream(path) << std::string(5'000, 'x');
  const auto result = Read(path);
  EXPECT_TRUE(absl::IsFailedPrecondition(result.status())) << result.status();
}

TEST(MediaSourceTest, StopsWhenTold) {
  const std::atomic<bool> stop = true;
  SourceOptions options;
  // Nobody sends there.
  options.input = "udp://127.0.0.1:1?timeout=10000000";
  options.side = api::v1::SIDE_CLERK;
  options.stop = &stop;
  EXPECT_TRUE(absl::IsCancelled(MediaSource::Open(options).status()));
}

TEST(MediaSourceTest, ReadsEveryPrefixOfAFileWithoutHarm) {
  std::ifstream file(OurMedia("janus-h264-opus-clerk.mkv"), std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
  const std::string path = absl::StrCat(testing::TempDir(), "/cut.mkv");
  size_t last_packets = 0;
  for (const size_t size : {size_t{100}, size_t{1'000}, size_t{50'000},
                            size_t{200'003}, content.size()}) {
    std::ofstream(path, std::ios::binary) << content.substr(0, size);
    const auto result = Read(path);
    if (!result.ok()) continue;
    ExpectSound(*result);
    EXPECT_GE(result->packets.size(), last_packets);
    last_packets = result->packets.size();
  }
  EXPECT_EQ(last_packets, 774u);
}

TEST(SharedMediaTest, PyramidOfBPictures) {
  READ_SHARED_OR_SKIP(
      reading, "third_party/bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4");
  EXPECT_EQ(reading.packets.size(), 120u);
  EXPECT_EQ(reading.packets[0].pts_us(), 0);
  EXPECT_EQ(reading.packets[0].dts_us(), -66'667);
  EXPECT_EQ(reading.packets[1].pts_us(), 133'333);
  EXPECT_EQ(reading.HarmfulProblems(), "");
}

TEST(SharedMediaTest, H265) {
  READ_SHARED_OR_SKIP(reading, "third_party/h265_bframes.mp4");
  EXPECT_EQ(reading.tracks[0].codec(), api::v1::CODEC_H265);
  EXPECT_EQ(reading.packets.size(), 30u);
  EXPECT_EQ(reading.KeyFrames(1), 1);
}

TEST(SharedMediaTest, EditListsLeadInIsKeptAndMarked) {
  READ_SHARED_OR_SKIP(reading, "third_party/iibbibb_editlist_videoonly.mp4");
  EXPECT_EQ(reading.packets.size(), 13u);
  EXPECT_TRUE(reading.packets[0].discard());
  EXPECT_FALSE(reading.packets[1].discard());
  EXPECT_EQ(reading.packets[0].pts_us(), -1'000'000);
  EXPECT_EQ(reading.earliest_pts_us, -1'000'000);
}

TEST(SharedMediaTest, AnnexBInMatroskaBecomesLengths) {
  READ_SHARED_OR_SKIP(reading, "mediarecorder-avc1opus.mkv");
  EXPECT_EQ(reading.packets.size(), 173u);
  const Packet first = reading.Of(2).front();
  EXPECT_NE(first.payload().substr(0, 4), std::string("\0\0\0\1", 4));
}

TEST(SharedMediaTest, ElementaryStreamGetsTimesFromItsOrder) {
  READ_SHARED_OR_SKIP(
      reading, "third_party/Cisco_Men_whisper_640x320_CABAC_Bframe_9.264");
  ASSERT_EQ(reading.packets.size(), 9u);
  const std::vector<int64_t> pts_ms = {0, 320, 40, 80, 120, 160, 200, 240, 280};
  for (size_t i = 0; i < pts_ms.size(); ++i) {
    EXPECT_EQ(reading.packets[i].pts_us(), pts_ms[i] * 1000) << i;
  }
}

TEST(SharedMediaTest, NewParameterSetsAreNewTracks) {
  READ_SHARED_OR_SKIP(reading, "third_party/Error_I_P.264");
  ASSERT_EQ(reading.changes.size(), 2u);
  EXPECT_EQ(reading.tracks[0].width(), 352u);
  EXPECT_EQ(reading.changes[0][0].width(), 640u);
  EXPECT_EQ(reading.changes[1][0].width(), 352u);
}

TEST(SharedMediaTest, Av1AndAac) {
  READ_SHARED_OR_SKIP(reading, "third_party/sample_av1.mp4");
  EXPECT_EQ(reading.Of(1).size(), 30u);
  EXPECT_EQ(reading.Of(2).size(), 45u);
  EXPECT_EQ(reading.HarmfulProblems(), "");
}

TEST(SharedMediaTest, SurroundOpusKeepsItsSkippedSamples) {
  READ_SHARED_OR_SKIP(reading, "third_party/bbb_480p_vp9_opus_1second.webm");
  EXPECT_EQ(reading.tracks[1].channels(), 6u);
  EXPECT_LT(reading.earliest_pts_us, 0);
  uint32_t skipped = 0;
  for (const Packet& packet : reading.Of(2)) {
    skipped += packet.skip_start_samples() + packet.skip_end_samples();
  }
  EXPECT_GT(skipped, 0u);
}

TEST(SharedMediaTest, SignaturesInTheStreamStay) {
  READ_SHARED_OR_SKIP(reading, "third_party/signed_test_h264.mp4");
  EXPECT_EQ(reading.packets.size(), 257u);
  // User data SEI: NAL type 6, payload type 5.
  int signatures = 0;
  for (const Packet& packet : reading.packets) {
    signatures += absl::StrContains(packet.payload(), "\x06\x05") ? 1 : 0;
  }
  EXPECT_GT(signatures, 0);
}

TEST(DamagedMediaTest, BoxThatEndsAfterTheFile) {
  READ_SHARED_OR_SKIP(reading, "third_party/sample_mdat_too_long.mp4");
  EXPECT_EQ(reading.packets.size(), 75u);
  EXPECT_TRUE(absl::StrContains(reading.HarmfulProblems(), "mdat"));
}

TEST(DamagedMediaTest, TrackWithoutDescription) {
  READ_SHARED_OR_SKIP(reading, "third_party/sample_missing_stsd.mp4");
  EXPECT_EQ(reading.tracks.size(), 1u);
  EXPECT_EQ(reading.packets.size(), 30u);
  EXPECT_TRUE(absl::StrContains(reading.HarmfulProblems(), "audio stream 1"));
}

TEST(DamagedMediaTest, PacketThatIsNoNalUnits) {
  READ_SHARED_OR_SKIP(reading, "third_party/sample_with_invalid_nalu.mp4");
  EXPECT_EQ(reading.packets.size(), 29u);
  EXPECT_EQ(reading.unreadable, 1u);
  EXPECT_TRUE(absl::StrContains(reading.HarmfulProblems(), "packet 29"));
}

TEST(DamagedMediaTest, NothingLeftToArchive) {
  for (const char* const name :
       {"third_party/invalid_vp9_bitstream-bug_1416.webm",
        "third_party/block_ends_beyond_cluster.mkv"}) {
    const auto path = SharedMedia(name);
    if (!path.has_value()) GTEST_SKIP() << name;
    const auto result = Read(*path);
    EXPECT_TRUE(absl::IsFailedPrecondition(result.status())) << name;
    EXPECT_TRUE(absl::StrContains(result.status().message(), name));
  }
}

}  // namespace
}  // namespace diptych::gateway
