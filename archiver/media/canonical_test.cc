#include "archiver/media/canonical.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::media {
namespace {

using api::v1::Track;

std::string Bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (const int value : values) bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string Reason(const absl::Status& status) {
  const auto detail = base::GetErrorDetail(status);
  return detail.has_value() ? detail->reason() : "";
}

std::string AvcConfig() {
  return Bytes({1,    66, 0xc0, 31, 0xff, 0xe1, 0,    5,    0x67, 66,
                0xc0, 31, 0x8c, 1,  0,    4,    0x68, 0xce, 0x3c, 0x80});
}

std::string HevcConfig() {
  std::string config =
      Bytes({1,  1,    0x60, 0,    0,    0,    0x90, 0, 0, 0,    0, 0,
             90, 0xf0, 0,    0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3});
  config += Bytes({0x20, 0, 1, 0, 3, 0x40, 1, 0x0c});
  config += Bytes({0x21, 0, 1, 0, 3, 0x42, 1, 0x01});
  config += Bytes({0x22, 0, 1, 0, 3, 0x44, 1, 0xc1});
  return config;
}

std::string Av1Config() {
  return Bytes({0x81, 0x05, 0x0c, 0, 0x0a, 3, 0, 0, 0});
}

std::string OpusHead(int channels) {
  return "OpusHead" + Bytes({1, channels, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0});
}

std::string SurroundOpusHead() {
  return "OpusHead" + Bytes({1, 6, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 1, 4, 2, 0,
                             4, 1, 2, 3, 5});
}

Track Video(api::v1::Codec codec, const std::string& config) {
  Track track;
  track.set_track_id(1);
  track.set_side(api::v1::SIDE_RESIDENT);
  track.set_source(api::v1::SOURCE_CAMERA);
  track.set_codec(codec);
  track.set_codec_config(config);
  track.set_width(640);
  track.set_height(360);
  return track;
}

Track Audio(api::v1::Codec codec, const std::string& config, uint32_t rate,
            uint32_t channels) {
  Track track;
  track.set_track_id(2);
  track.set_side(api::v1::SIDE_CLERK);
  track.set_source(api::v1::SOURCE_MICROPHONE);
  track.set_codec(codec);
  track.set_codec_config(config);
  track.set_sample_rate_hz(rate);
  track.set_channels(channels);
  return track;
}

std::string LowComplexityAac() { return Bytes({0x12, 0x10}); }

struct NamedTrack {
  const char* name;
  Track track;
};

std::vector<NamedTrack> GoodTracks() {
  return {
      {"h264", Video(api::v1::CODEC_H264, AvcConfig())},
      {"h265", Video(api::v1::CODEC_H265, HevcConfig())},
      {"vp8", Video(api::v1::CODEC_VP8, "")},
      {"vp9", Video(api::v1::CODEC_VP9, "")},
      {"av1", Video(api::v1::CODEC_AV1, Av1Config())},
      {"opus", Audio(api::v1::CODEC_OPUS, OpusHead(2), 48'000, 2)},
      {"surround", Audio(api::v1::CODEC_OPUS, SurroundOpusHead(), 48'000, 6)},
      {"aac", Audio(api::v1::CODEC_AAC, LowComplexityAac(), 44'100, 2)},
      {"alaw", Audio(api::v1::CODEC_G711_ALAW, "", 8'000, 1)},
      {"ulaw", Audio(api::v1::CODEC_G711_ULAW, "", 8'000, 2)},
  };
}

TEST(CheckTrackTest, TakesEveryCodec) {
  for (const NamedTrack& named : GoodTracks()) {
    EXPECT_TRUE(CheckTrack(named.track).ok())
        << named.name << ": " << CheckTrack(named.track);
  }
}

TEST(CheckTrackTest, RefusesEveryPrefixOfAConfig) {
  for (const NamedTrack& named : GoodTracks()) {
    const std::string config = named.track.codec_config();
    for (size_t size = 0; size < config.size(); ++size) {
      Track track = named.track;
      track.set_codec_config(config.substr(0, size));
      EXPECT_EQ(Reason(CheckTrack(track)), "BAD_CODEC_CONFIG")
          << named.name << " of " << size << " bytes";
    }
  }
}

TEST(CheckTrackTest, RefusesBytesAfterAConfig) {
  for (const NamedTrack& named : GoodTracks()) {
    // What follows an AudioSpecificConfig's start is the decoder's affair.
    if (named.track.codec() == api::v1::CODEC_AAC) continue;
    Track track = named.track;
    track.mutable_codec_config()->push_back('\x01');
    EXPECT_EQ(Reason(CheckTrack(track)), "BAD_CODEC_CONFIG") << named.name;
  }
}

TEST(CheckTrackTest, NamesTrackAndSide) {
  Track track = Video(api::v1::CODEC_H264, "");
  track.set_track_id(7);
  const auto detail = base::GetErrorDetail(CheckTrack(track));
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->track_id(), 7u);
  EXPECT_EQ(detail->side(), api::v1::SIDE_RESIDENT);
}

TEST(CheckTrackTest, RefusesUnknownCodecs) {
  Track track = Video(api::v1::CODEC_UNSPECIFIED, "");
  EXPECT_EQ(Reason(CheckTrack(track)), "UNKNOWN_CODEC");
  track.set_codec(static_cast<api::v1::Codec>(99));
  EXPECT_EQ(Reason(CheckTrack(track)), "UNKNOWN_CODEC");
}

TEST(CheckTrackTest, RefusesImpossibleFields) {
  const Track video = Video(api::v1::CODEC_VP8, "");
  const Track audio = Audio(api::v1::CODEC_G711_ALAW, "", 8'000, 1);
  const auto refused = [](Track track, auto change) {
    change(&track);
    return Reason(CheckTrack(track)) == "BAD_TRACK";
  };
  EXPECT_TRUE(refused(video, [](Track* t) { t->set_track_id(0); }));
  EXPECT_TRUE(refused(video, [](Track* t) { t->set_track_id(33); }));
  EXPECT_TRUE(refused(video, [](Track* t) { t->clear_side(); }));
  EXPECT_TRUE(refused(video, [](Track* t) { t->clear_source(); }));
  EXPECT_TRUE(refused(video, [](Track* t) { t->set_width(0); }));
  EXPECT_TRUE(refused(video, [](Track* t) { t->set_height(16'385); }));
  EXPECT_TRUE(refused(video, [](Track* t) { t->set_channels(1); }));
  EXPECT_TRUE(refused(
      video, [](Track* t) { t->set_source(api::v1::SOURCE_MICROPHONE); }));
  EXPECT_TRUE(refused(video, [](Track* t) { t->set_language("de\n"); }));
  EXPECT_TRUE(refused(audio, [](Track* t) { t->set_width(1); }));
  EXPECT_TRUE(refused(audio, [](Track* t) { t->set_channels(3); }));
  EXPECT_TRUE(refused(audio, [](Track* t) { t->set_sample_rate_hz(0); }));
  EXPECT_TRUE(refused(audio, [](Track* t) { t->set_sample_rate_hz(96'000); }));
}

TEST(CheckTrackTest, WantsFourByteLengths) {
  std::string avc = AvcConfig();
  avc[4] = '\xfd';
  EXPECT_EQ(Reason(CheckTrack(Video(api::v1::CODEC_H264, avc))),
            "BAD_CODEC_CONFIG");
  std::string hevc = HevcConfig();
  hevc[21] = '\x0d';
  EXPECT_EQ(Reason(CheckTrack(Video(api::v1::CODEC_H265, hevc))),
            "BAD_CODEC_CONFIG");
}

TEST(CheckTrackTest, WantsParameterSetsOfTheRightKind) {
  std::string avc = AvcConfig();
  avc[8] = '\x68';
  EXPECT_EQ(Reason(CheckTrack(Video(api::v1::CODEC_H264, avc))),
            "BAD_CODEC_CONFIG");
  // All arrays, but no picture parameter set in its array.
  std::string hevc = HevcConfig();
  hevc.resize(hevc.size() - 5);
  hevc[hevc.size() - 1] = 0;
  EXPECT_EQ(Reason(CheckTrack(Video(api::v1::CODEC_H265, hevc))),
            "BAD_CODEC_CONFIG");
}

TEST(CheckTrackTest, HighProfileMayCarryItsExtension) {
  std::string avc = AvcConfig();
  avc[1] = 100;
  EXPECT_TRUE(CheckTrack(Video(api::v1::CODEC_H264, avc)).ok());
  avc += Bytes({0xfd, 0xf8, 0xf8, 0});
  EXPECT_TRUE(CheckTrack(Video(api::v1::CODEC_H264, avc)).ok());
  avc.pop_back();
  EXPECT_FALSE(CheckTrack(Video(api::v1::CODEC_H264, avc)).ok());
}

TEST(CheckTrackTest, AudioParametersAgreeWithTheTrack) {
  EXPECT_FALSE(
      CheckTrack(Audio(api::v1::CODEC_OPUS, OpusHead(1), 48'000, 2)).ok());
  EXPECT_FALSE(
      CheckTrack(Audio(api::v1::CODEC_OPUS, OpusHead(2), 44'100, 2)).ok());
  EXPECT_FALSE(
      CheckTrack(Audio(api::v1::CODEC_AAC, LowComplexityAac(), 48'000, 2))
          .ok());
  EXPECT_FALSE(
      CheckTrack(Audio(api::v1::CODEC_AAC, LowComplexityAac(), 44'100, 1))
          .ok());
  // Band replication that is not signalled doubles the rate.
  EXPECT_TRUE(
      CheckTrack(Audio(api::v1::CODEC_AAC, LowComplexityAac(), 88'200, 2))
          .ok());
  // Object type 0, frequency index 13, channel configuration 8.
  EXPECT_FALSE(
      CheckTrack(Audio(api::v1::CODEC_AAC, Bytes({0x02, 0x10}), 44'100, 2))
          .ok());
  EXPECT_FALSE(
      CheckTrack(Audio(api::v1::CODEC_AAC, Bytes({0x16, 0x90}), 44'100, 2))
          .ok());
  EXPECT_FALSE(
      CheckTrack(Audio(api::v1::CODEC_AAC, Bytes({0x12, 0x40}), 44'100, 2))
          .ok());
}

TEST(CheckTrackTest, OpusMappingStaysInsideItsStreams) {
  std::string head = SurroundOpusHead();
  head.back() = 6;
  EXPECT_FALSE(CheckTrack(Audio(api::v1::CODEC_OPUS, head, 48'000, 6)).ok());
  head = SurroundOpusHead();
  head[20] = 5;
  EXPECT_FALSE(CheckTrack(Audio(api::v1::CODEC_OPUS, head, 48'000, 6)).ok());
}

TEST(CheckTrackTest, NeverTrustsRandomBytes) {
  std::mt19937 random(7);
  for (const NamedTrack& named : GoodTracks()) {
    for (int i = 0; i < 2'000; ++i) {
      Track track = named.track;
      std::string* config = track.mutable_codec_config();
      if (config->empty()) break;
      (*config)[random() % config->size()] = static_cast<char>(random());
      (*config)[random() % config->size()] = static_cast<char>(random());
      CheckTrack(track).IgnoreError();
    }
  }
}

absl::Status Check(api::v1::Codec codec, const std::string& payload) {
  for (const NamedTrack& named : GoodTracks()) {
    if (named.track.codec() == codec) return CheckPayload(named.track, payload);
  }
  return absl::InternalError("no such track");
}

TEST(CheckPayloadTest, NalUnitsFillThePacket) {
  const std::string good = Bytes({0, 0, 0, 2, 0x09, 0x10,  //
                                  0, 0, 0, 3, 0x65, 0x88, 0x84});
  EXPECT_TRUE(Check(api::v1::CODEC_H264, good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    if (size == 6) continue;
    EXPECT_EQ(Reason(Check(api::v1::CODEC_H264, good.substr(0, size))),
              "BAD_PAYLOAD")
        << size;
  }
  EXPECT_FALSE(Check(api::v1::CODEC_H264, good + Bytes({0})).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_H264, good + Bytes({0, 0, 0, 0})).ok());
  EXPECT_FALSE(
      Check(api::v1::CODEC_H264, Bytes({0, 0, 0, 2, 0xe5, 0x88})).ok());
  EXPECT_FALSE(
      Check(api::v1::CODEC_H264, Bytes({0xff, 0xff, 0xff, 0xff, 0x65})).ok());
  // An Annex B start code reads as a NAL unit of one byte.
  EXPECT_FALSE(
      Check(api::v1::CODEC_H264, Bytes({0, 0, 0, 1, 0x65, 0x88, 0x84})).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_H265, Bytes({0, 0, 0, 1, 0x26})).ok());
  EXPECT_TRUE(Check(api::v1::CODEC_H265, Bytes({0, 0, 0, 2, 0x26, 1})).ok());
}

TEST(CheckPayloadTest, Av1WantsSizesAndNoDelimiter) {
  const std::string good = Bytes({0x32, 3, 1, 2, 3, 0x36, 0, 1, 9});
  EXPECT_TRUE(Check(api::v1::CODEC_AV1, good).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_AV1, good.substr(0, 8)).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_AV1, Bytes({0x12, 0}) + good).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_AV1, Bytes({0x30, 1, 2, 3})).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_AV1, Bytes({0xb2, 1, 2})).ok());
  EXPECT_FALSE(
      Check(api::v1::CODEC_AV1, Bytes({0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 1}))
          .ok());
}

TEST(CheckPayloadTest, VpxMarkers) {
  EXPECT_TRUE(Check(api::v1::CODEC_VP8,
                    Bytes({0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1}))
                  .ok());
  EXPECT_TRUE(Check(api::v1::CODEC_VP8, Bytes({0x11, 0, 0})).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_VP8, Bytes({0x10, 0, 0, 0x9d, 1})).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_VP8, Bytes({0x11, 0})).ok());
  EXPECT_TRUE(Check(api::v1::CODEC_VP9, Bytes({0x82})).ok());
  EXPECT_FALSE(Check(api::v1::CODEC_VP9, Bytes({0x42})).ok());
}

TEST(CheckPayloadTest, OpusFraming) {
  const auto opus = [](std::initializer_list<int> values) {
    return Check(api::v1::CODEC_OPUS, Bytes(values)).ok();
  };
  EXPECT_TRUE(opus({0xfc}));
  EXPECT_TRUE(opus({0xfc, 1, 2, 3}));
  // Two equal frames.
  EXPECT_TRUE(opus({0xfd, 1, 2}));
  EXPECT_FALSE(opus({0xfd, 1, 2, 3}));
  // Two frames, the first one's length in front.
  EXPECT_TRUE(opus({0xfe, 2, 1, 1, 5}));
  EXPECT_FALSE(opus({0xfe, 4, 1, 1, 5}));
  EXPECT_FALSE(opus({0xfe}));
  // Counted frames; 20 ms each, so six at most.
  EXPECT_TRUE(opus({0xff, 2, 7, 7}));
  EXPECT_FALSE(opus({0xff, 0}));
  EXPECT_FALSE(opus({0xff, 7, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_FALSE(opus({0xff}));
  // With padding, and with lengths.
  EXPECT_TRUE(opus({0xff, 0x41, 2, 9, 0, 0}));
  EXPECT_FALSE(opus({0xff, 0x41, 4, 9, 0, 0}));
  EXPECT_TRUE(opus({0xff, 0x82, 1, 8, 9, 9}));
  EXPECT_FALSE(opus({0xff, 0x82, 9, 8}));
  // No frame is longer than 1275 bytes.
  EXPECT_FALSE(
      Check(api::v1::CODEC_OPUS, "\xfc" + std::string(1276, 'x')).ok());
}

TEST(CheckPayloadTest, OpusStreamsDelimitThemselves) {
  const Track track = Audio(api::v1::CODEC_OPUS, SurroundOpusHead(), 48'000, 6);
  const std::string inner = Bytes({0xfc, 2, 1, 1});
  EXPECT_TRUE(
      CheckPayload(track, inner + inner + inner + Bytes({0xfc, 5})).ok());
  EXPECT_FALSE(CheckPayload(track, inner + inner).ok());
  EXPECT_FALSE(CheckPayload(track, Bytes({0xfc, 9, 1, 1}) + inner).ok());
}

TEST(CheckPayloadTest, AacIsRaw) {
  EXPECT_TRUE(Check(api::v1::CODEC_AAC, Bytes({0x21, 0x10, 5})).ok());
  EXPECT_FALSE(
      Check(api::v1::CODEC_AAC, Bytes({0xff, 0xf1, 0x50, 0x80, 1, 0x1f, 0xfc}))
          .ok());
}

TEST(CheckPayloadTest, SizesAreBounded) {
  for (const NamedTrack& named : GoodTracks()) {
    EXPECT_EQ(Reason(CheckPayload(named.track, "")), "BAD_PAYLOAD");
    EXPECT_EQ(Reason(CheckPayload(
                  named.track, std::string(limits::kMaxPacket_bytes + 1, 0))),
              "BAD_PAYLOAD");
  }
  EXPECT_FALSE(Check(api::v1::CODEC_G711_ULAW, "abc").ok());
  EXPECT_TRUE(Check(api::v1::CODEC_G711_ULAW, "abcd").ok());
}

TEST(CheckPayloadTest, NeverTrustsRandomBytes) {
  std::mt19937 random(11);
  for (const NamedTrack& named : GoodTracks()) {
    for (int i = 0; i < 5'000; ++i) {
      std::string payload(1 + random() % 40, 0);
      for (char& c : payload) c = static_cast<char>(random());
      CheckPayload(named.track, payload).IgnoreError();
    }
  }
}

}  // namespace
}  // namespace diptych::media
