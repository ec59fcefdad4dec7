#include "tools/gateway/track_converter.h"

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "archiver/media/canonical.h"
#include "proto/api/v1/common.pb.h"
#include "tools/gateway/av1_stream.h"
#include "tools/gateway/libav.h"

namespace diptych::gateway {
namespace {

using Change = TrackConverter::Change;

std::string Hex(absl::string_view hex) { return absl::HexStringToBytes(hex); }

struct ParametersDeleter {
  void operator()(AVCodecParameters* parameters) const {
    avcodec_parameters_free(&parameters);
  }
};

// A converter for a stream as a demuxer describes it.
absl::StatusOr<std::unique_ptr<TrackConverter>> Make(
    AVCodecID id, absl::string_view extradata, int rate = 0, int channels = 0) {
  const std::unique_ptr<AVCodecParameters, ParametersDeleter> parameters(
      avcodec_parameters_alloc());
  parameters->codec_id = id;
  parameters->width = rate == 0 ? 640 : 0;
  parameters->height = rate == 0 ? 360 : 0;
  parameters->sample_rate = rate;
  parameters->ch_layout.nb_channels = channels;
  if (!extradata.empty()) {
    parameters->extradata = static_cast<uint8_t*>(
        av_mallocz(extradata.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    std::memcpy(parameters->extradata, extradata.data(), extradata.size());
    parameters->extradata_size = static_cast<int>(extradata.size());
  }
  return TrackConverter::Create(*parameters, api::v1::SIDE_CLERK, 3);
}

// Two parameter sets of a real encoder, and others of the same ids.
const char kSps[] = "6742c01f8c8d405017fcb00f08846a";
const char kOtherSps[] = "6742c01e8c8d40f047f500f08846a0";
const char kPps[] = "68ce3c80";
const char kAvcConfig[] =
    "0142c01fffe1000f6742c01f8c8d405017fcb00f08846a01000468ce3c80";

std::string AnnexB(std::initializer_list<const char*> units) {
  std::string bytes;
  for (const char* const unit : units) bytes += Hex("00000001") + Hex(unit);
  return bytes;
}

TEST(TrackConverterTest, GoodParametersStayToTheByte) {
  // A picture parameter set with a zero byte behind it is still good.
  const std::string config =
      Hex("0142c01fffe1000f6742c01f8c8d405017fcb00f08846a01000568ce3c8000");
  const auto converter = Make(AV_CODEC_ID_H264, config);
  ASSERT_TRUE(converter.ok());
  EXPECT_TRUE((*converter)->ready());
  EXPECT_EQ((*converter)->track().codec_config(), config);
  const std::string packet =
      Hex("0000000365888400000002"
          "0605");
  const auto converted = (*converter)->Convert(packet, true);
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ(converted->payload, packet);
  EXPECT_EQ(converted->change, Change::kNone);
}

TEST(TrackConverterTest, ParameterSetsInTheStreamMakeTheTrack) {
  const auto converter = Make(AV_CODEC_ID_H264, "");
  ASSERT_TRUE(converter.ok());
  EXPECT_FALSE((*converter)->ready());
  EXPECT_FALSE((*converter)->Convert(AnnexB({"419a00"}), false).ok());
  const auto first =
      (*converter)->Convert(AnnexB({kSps, kPps, "65888400"}), true);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->change, Change::kBecameReady);
  EXPECT_EQ(absl::BytesToHexString((*converter)->track().codec_config()),
            kAvcConfig);
  // Everything is still in the packet.
  EXPECT_EQ(
      absl::BytesToHexString(first->payload),
      std::string("0000000f") + kSps + "00000004" + kPps + "00000003658884");
  const auto same =
      (*converter)->Convert(AnnexB({kSps, kPps, "65888400"}), true);
  EXPECT_EQ(same->change, Change::kNone);
  const auto other =
      (*converter)->Convert(AnnexB({kOtherSps, kPps, "65888400"}), true);
  EXPECT_EQ(other->change, Change::kChanged);
  EXPECT_TRUE(media::CheckTrack((*converter)->track()).ok());
}

TEST(TrackConverterTest, SetsBetweenKeyFramesWaitForTheNext) {
  const auto converter = Make(AV_CODEC_ID_H264, Hex(kAvcConfig));
  ASSERT_TRUE(converter.ok());
  const std::string between =
      Hex(std::string("0000000f") + kOtherSps + "00000003419a01");
  EXPECT_EQ((*converter)->Convert(between, false)->change, Change::kNone);
  EXPECT_EQ((*converter)->Convert(Hex("00000003658884"), true)->change,
            Change::kChanged);
}

TEST(TrackConverterTest, ShortLengthsBecomeFourBytes) {
  std::string config = Hex(kAvcConfig);
  config[4] = '\xfd';
  const auto converter = Make(AV_CODEC_ID_H264, config);
  ASSERT_TRUE(converter.ok());
  EXPECT_EQ(absl::BytesToHexString((*converter)->track().codec_config()),
            kAvcConfig);
  const auto converted = (*converter)->Convert(Hex("000365888400020605"), true);
  ASSERT_TRUE(converted.ok());
  EXPECT_EQ(absl::BytesToHexString(converted->payload),
            "00000003658884000000020605");
  EXPECT_FALSE((*converter)->Convert(Hex("00ff6588"), true).ok());
}

TEST(TrackConverterTest, NewParametersFromTheContainerAreAChange) {
  const auto converter = Make(AV_CODEC_ID_AAC, Hex("1210"), 44'100, 2);
  ASSERT_TRUE(converter.ok());
  EXPECT_TRUE((*converter)->ready());
  EXPECT_EQ((*converter)->Convert(Hex("211004"), true)->change, Change::kNone);
  ASSERT_TRUE((*converter)->SetExtradata(Hex("1190")).ok());
  (*converter)->SetAudioFormat(48'000, 0);
  EXPECT_EQ((*converter)->Convert(Hex("211004"), true)->change,
            Change::kChanged);
  // What is no good does not replace it.
  ASSERT_TRUE((*converter)->SetExtradata(Hex("00")).ok());
  EXPECT_FALSE((*converter)->Convert(Hex("211004"), true).ok());
  EXPECT_EQ((*converter)->track().codec_config(), Hex("1190"));
  EXPECT_TRUE((*converter)->Convert(Hex("211004"), true).ok());
}

TEST(TrackConverterTest, AdtsBecomesRaw) {
  const auto converter = Make(AV_CODEC_ID_AAC, "", 44'100, 2);
  ASSERT_TRUE(converter.ok());
  EXPECT_FALSE((*converter)->ready());
  // Low complexity, 44.1 kHz, two channels, 10 bytes with its header.
  const auto converted =
      (*converter)->Convert(Hex("fff15080015ffc211004"), true);
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ(converted->payload, Hex("211004"));
  EXPECT_EQ((*converter)->track().codec_config(), Hex("1210"));
  EXPECT_FALSE((*converter)->Convert(Hex("fff15080015ffc2110"), true).ok());
  EXPECT_FALSE((*converter)->Convert(Hex("fff15080015ffe211004"), true).ok());
}

TEST(TrackConverterTest, OpusOfRtpGetsAHead) {
  const auto converter = Make(AV_CODEC_ID_OPUS, "", 48'000, 2);
  ASSERT_TRUE(converter.ok());
  EXPECT_TRUE((*converter)->ready());
  EXPECT_EQ((*converter)->track().codec_config(),
            "OpusHead" + Hex("0102000080bb0000000000"));
  EXPECT_FALSE((*Make(AV_CODEC_ID_OPUS, "", 48'000, 6))->ready());
}

TEST(TrackConverterTest, Vp8SaysItsSize) {
  const auto converter = Make(AV_CODEC_ID_VP8, "");
  ASSERT_TRUE(converter.ok());
  const auto changed = (*converter)->Convert(Hex("1000009d012ae0010e01"), true);
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(changed->change, Change::kChanged);
  EXPECT_EQ((*converter)->track().width(), 480u);
  EXPECT_EQ((*converter)->track().height(), 270u);
}

TEST(TrackConverterTest, SaysWhichCodecItDoesNotTake) {
  const auto converter = Make(AV_CODEC_ID_MP3, "", 44'100, 2);
  EXPECT_TRUE(absl::IsUnimplemented(converter.status()));
  EXPECT_NE(converter.status().message().find("mp3"), std::string::npos);
}

// The sequence header of a real encoder.
const char kSequenceHeader[] = "0a0b0000002d4c37b3dfff9804";

TEST(Av1StreamTest, BuildsTheEncodersOwnConfig) {
  const auto config = BuildAv1Config(Hex(kSequenceHeader));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(absl::BytesToHexString(*config),
            std::string("81050c00") + kSequenceHeader);
  for (size_t size = 0; size < Hex(kSequenceHeader).size(); ++size) {
    EXPECT_FALSE(BuildAv1Config(Hex(kSequenceHeader).substr(0, size)).ok());
  }
}

TEST(Av1StreamTest, DelimitersGoAndSizesCome) {
  const auto canonical =
      CanonicalAv1(Hex(std::string("1200") + kSequenceHeader + "30aabbcc"));
  ASSERT_TRUE(canonical.ok());
  EXPECT_EQ(absl::BytesToHexString(*canonical),
            std::string(kSequenceHeader) + "3203aabbcc");
  EXPECT_EQ(CanonicalAv1(*canonical).value(), *canonical);
  EXPECT_EQ(FindAv1SequenceHeader(*canonical), Hex(kSequenceHeader));
  EXPECT_FALSE(FindAv1SequenceHeader(Hex("3203aabbcc")).has_value());
  EXPECT_FALSE(CanonicalAv1(Hex("3209aabbcc")).ok());
  EXPECT_FALSE(CanonicalAv1(Hex("34")).ok());
}

TEST(Av1StreamTest, TheStreamMakesTheTrack) {
  const auto converter = Make(AV_CODEC_ID_AV1, "");
  ASSERT_TRUE(converter.ok());
  EXPECT_FALSE((*converter)->ready());
  const auto first =
      (*converter)
          ->Convert(Hex(std::string("1200") + kSequenceHeader + "3203aabbcc"),
                    true);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->change, Change::kBecameReady);
}

}  // namespace
}  // namespace diptych::gateway
