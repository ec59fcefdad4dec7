#include "archiver/media/matroska_muxer.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/media/packet_table.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {
namespace {

stored::v1::Track Video(uint32_t id) {
  stored::v1::Track track;
  track.set_track_id(id);
  track.set_side(stored::v1::SIDE_RESIDENT);
  track.set_codec(api::v1::CODEC_VP8);
  track.set_width(640);
  track.set_height(360);
  return track;
}

stored::v1::Track Audio(uint32_t id) {
  stored::v1::Track track;
  track.set_track_id(id);
  track.set_side(stored::v1::SIDE_CLERK);
  track.set_codec(api::v1::CODEC_G711_ALAW);
  track.set_sample_rate_hz(8000);
  track.set_channels(1);
  return track;
}

class MatroskaMuxerTest : public testing::Test {
 protected:
  void Put(MatroskaMuxer* muxer, uint32_t track, int64_t dts_us, int64_t pts_us,
           const std::string& payload) {
    PacketInfo info;
    info.track_id = track;
    info.sequence = infos_.size() + 1;
    info.dts_us = dts_us;
    info.pts_us = pts_us;
    info.key_frame = infos_.size() % 3 == 0;
    info.payload_bytes = static_cast<uint32_t>(payload.size());
    ASSERT_TRUE(muxer->Write(info, payload).ok());
    infos_.push_back(info);
    payloads_.push_back(payload);
  }

  // The chunk that Flush ends holds exactly what was put since the last one.
  void ExpectChunk(MatroskaMuxer* muxer) {
    const auto clusters = muxer->Flush();
    ASSERT_TRUE(clusters.ok());
    const std::string body = EncodeChunkBody(infos_, *clusters);
    const auto decoded = DecodeChunkBody(body);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(decoded->packets.size(), infos_.size());
    for (size_t i = 0; i < infos_.size(); ++i) {
      EXPECT_EQ(decoded->packets[i].info, infos_[i]);
      EXPECT_EQ(std::string(decoded->packets[i].payload), payloads_[i]);
    }
    infos_.clear();
    payloads_.clear();
  }

  std::vector<PacketInfo> infos_;
  std::vector<std::string> payloads_;
};

TEST_F(MatroskaMuxerTest, AFlushedChunkHoldsItsLastAudioPacketToo) {
  for (const uint32_t audio : {2u, 9u}) {
    const auto muxer = MatroskaMuxer::Create({Video(1), Audio(audio)}).value();
    for (int chunk = 0; chunk < 3; ++chunk) {
      const int64_t t = chunk * 1'000'000;
      Put(muxer.get(), 1, t, t, "picture");
      Put(muxer.get(), audio, t + 20'000, t + 20'000, "voice");
      ExpectChunk(muxer.get());
    }
  }
}

TEST_F(MatroskaMuxerTest, AudioAloneWorksToo) {
  const auto muxer = MatroskaMuxer::Create({Audio(1)}).value();
  for (int i = 0; i < 5; ++i) {
    Put(muxer.get(), 1, i * 20'000, i * 20'000, std::string(160, 'a' + i));
    ExpectChunk(muxer.get());
  }
}

TEST_F(MatroskaMuxerTest, ReorderedEqualAndOldTimesSurvive) {
  const auto muxer = MatroskaMuxer::Create({Video(1), Video(2)}).value();
  Put(muxer.get(), 1, -66'667, 0, "I");
  Put(muxer.get(), 1, -33'333, 133'333, "P");
  Put(muxer.get(), 1, 0, 66'667, "B");
  Put(muxer.get(), 1, 0, 66'667, "B again");
  ExpectChunk(muxer.get());
  // Far later than a block's 16-bit time reaches, then the other side's past.
  Put(muxer.get(), 1, 100'000'000, 100'000'000, "later");
  Put(muxer.get(), 2, 1'000, 1'000, "long ago");
  ExpectChunk(muxer.get());
}

TEST_F(MatroskaMuxerTest, AFlushOfNothingIsEmpty) {
  const auto muxer = MatroskaMuxer::Create({Video(1), Audio(2)}).value();
  EXPECT_EQ(muxer->Flush().value(), "");
  EXPECT_FALSE(muxer->header().empty());
}

TEST_F(MatroskaMuxerTest, AnUnknownCodecIsNamed) {
  stored::v1::Track track = Video(3);
  track.set_codec(99);
  EXPECT_EQ(MatroskaMuxer::Create({track}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace diptych::media
