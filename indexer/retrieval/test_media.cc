#include "indexer/retrieval/test_media.h"

extern "C" {
#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/mathematics.h>
}

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr AVRational kMicrosecond = {1, 1'000'000};
constexpr int kSkipSamples_bytes = 10;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

uint32_t CodecOf(AVCodecID id) {
  switch (id) {
    case AV_CODEC_ID_H264:
      return api::v1::CODEC_H264;
    case AV_CODEC_ID_HEVC:
      return api::v1::CODEC_H265;
    case AV_CODEC_ID_VP8:
      return api::v1::CODEC_VP8;
    case AV_CODEC_ID_VP9:
      return api::v1::CODEC_VP9;
    case AV_CODEC_ID_AV1:
      return api::v1::CODEC_AV1;
    case AV_CODEC_ID_OPUS:
      return api::v1::CODEC_OPUS;
    case AV_CODEC_ID_AAC:
      return api::v1::CODEC_AAC;
    case AV_CODEC_ID_PCM_ALAW:
      return api::v1::CODEC_G711_ALAW;
    default:
      return api::v1::CODEC_UNSPECIFIED;
  }
}

stored::v1::Track TrackOf(const AVStream& stream) {
  const AVCodecParameters& parameters = *stream.codecpar;
  stored::v1::Track track;
  track.set_track_id(static_cast<uint32_t>(stream.index) + 1);
  track.set_side(stored::v1::SIDE_RESIDENT);
  track.set_codec(CodecOf(parameters.codec_id));
  if (parameters.extradata_size > 0 && parameters.codec_id != AV_CODEC_ID_VP8 &&
      parameters.codec_id != AV_CODEC_ID_VP9) {
    track.set_codec_config(parameters.extradata,
                           static_cast<size_t>(parameters.extradata_size));
  }
  if (parameters.codec_type == AVMEDIA_TYPE_VIDEO) {
    track.set_source(api::v1::SOURCE_CAMERA);
    track.set_width(static_cast<uint32_t>(parameters.width));
    track.set_height(static_cast<uint32_t>(parameters.height));
  } else {
    track.set_source(api::v1::SOURCE_MICROPHONE);
    track.set_sample_rate_hz(static_cast<uint32_t>(parameters.sample_rate));
    track.set_channels(static_cast<uint32_t>(parameters.ch_layout.nb_channels));
  }
  return track;
}

std::string TemporaryPath() {
  static int counter = 0;
  return absl::StrCat(::testing::TempDir(), "/retrieval_", ++counter);
}

}  // namespace

std::vector<TestPacket> TestMedia::Of(uint32_t track_id) const {
  std::vector<TestPacket> found;
  for (const TestPacket& packet : packets) {
    if (packet.info.track_id == track_id) found.push_back(packet);
  }
  return found;
}

TestMedia ReadMedia(const std::string& path) {
  AVFormatContext* context = nullptr;
  if (avformat_open_input(&context, path.c_str(), nullptr, nullptr) < 0 ||
      avformat_find_stream_info(context, nullptr) < 0) {
    Fail("can't read " + path);
  }
  TestMedia media;
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    media.tracks.push_back(TrackOf(*context->streams[i]));
  }
  AVPacket* packet = av_packet_alloc();
  while (av_read_frame(context, packet) >= 0) {
    const AVRational unit = context->streams[packet->stream_index]->time_base;
    TestPacket read;
    read.info.track_id = static_cast<uint32_t>(packet->stream_index) + 1;
    read.info.pts_us = av_rescale_q(packet->pts, unit, kMicrosecond);
    read.info.dts_us = packet->dts == AV_NOPTS_VALUE
                           ? read.info.pts_us
                           : av_rescale_q(packet->dts, unit, kMicrosecond);
    read.info.duration_us = static_cast<uint64_t>(
        av_rescale_q(packet->duration, unit, kMicrosecond));
    read.info.key_frame = (packet->flags & AV_PKT_FLAG_KEY) != 0;
    read.info.discard = (packet->flags & AV_PKT_FLAG_DISCARD) != 0;
    size_t size = 0;
    const uint8_t* skip =
        av_packet_get_side_data(packet, AV_PKT_DATA_SKIP_SAMPLES, &size);
    if (skip != nullptr && size >= kSkipSamples_bytes) {
      read.info.skip_start_samples = AV_RL32(skip);
      read.info.skip_end_samples = AV_RL32(skip + 4);
    }
    read.info.payload_bytes = static_cast<uint32_t>(packet->size);
    read.payload.assign(reinterpret_cast<const char*>(packet->data),
                        static_cast<size_t>(packet->size));
    media.packets.push_back(std::move(read));
    av_packet_unref(packet);
  }
  av_packet_free(&packet);
  avformat_close_input(&context);
  return media;
}

TestMedia ReadMediaBytes(absl::string_view bytes) {
  const std::string path = TemporaryPath();
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  TestMedia media = ReadMedia(path);
  std::filesystem::remove(path);
  return media;
}

void MakeSide(stored::v1::Side side, uint32_t first_track_id,
              TestMedia* media) {
  for (stored::v1::Track& track : media->tracks) {
    track.set_side(side);
    track.set_track_id(track.track_id() - 1 + first_track_id);
  }
  int64_t earliest_us = 0;
  for (const TestPacket& packet : media->packets) {
    earliest_us = std::min(earliest_us, packet.info.pts_us);
  }
  uint64_t sequence = 0;
  for (TestPacket& packet : media->packets) {
    packet.info.track_id += first_track_id - 1;
    packet.info.sequence = ++sequence;
    packet.info.pts_us -= earliest_us;
    packet.info.dts_us -= earliest_us;
  }
}

std::string OwnMedia(const std::string& name) { return "tests/data/" + name; }

std::string SharedMedia(const std::string& name) {
  const char* folder = std::getenv("DIPTYCH_SHARED_DIR");
  for (const std::string& root : {std::string(folder == nullptr ? "" : folder),
                                  std::string("../shared")}) {
    const std::string path = absl::StrCat(root, "/media/", name);
    if (std::filesystem::exists(path)) return path;
  }
  return "";
}

void FileBytes::Write(uint64_t offset, absl::string_view bytes) {
  if (bytes_.size() < offset + bytes.size()) {
    bytes_.resize(offset + bytes.size());
  }
  bytes_.replace(offset, bytes.size(), bytes.data(), bytes.size());
}

void ExpectSamePackets(const std::vector<TestPacket>& packets,
                       const TestMedia& file, uint32_t file_track,
                       int64_t origin_us) {
  const std::vector<TestPacket> found = file.Of(file_track);
  ASSERT_EQ(found.size(), packets.size()) << "track " << file_track;
  for (size_t i = 0; i < packets.size(); ++i) {
    EXPECT_TRUE(found[i].payload == packets[i].payload)
        << "track " << file_track << " packet " << i;
    EXPECT_EQ(found[i].info.key_frame, packets[i].info.key_frame)
        << "track " << file_track << " packet " << i;
    EXPECT_NEAR(static_cast<double>(found[i].info.pts_us + origin_us),
                static_cast<double>(packets[i].info.pts_us), 1000)
        << "track " << file_track << " packet " << i;
  }
}

}  // namespace diptych::indexer
