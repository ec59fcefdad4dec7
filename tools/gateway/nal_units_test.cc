#include "tools/gateway/nal_units.h"

#include <cstddef>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "archiver/media/canonical.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::gateway {
namespace {

std::string Hex(absl::string_view hex) { return absl::HexStringToBytes(hex); }

// Parameter sets of real encoders.
const char kAvcSps[] = "6742c01f8c8d405017fcb00f08846a";
const char kAvcOtherSps[] = "6742c01e8c8d40f047f500f08846a0";
const char kAvcPps[] = "68ce3c80";
const char kAvcHighSps[] =
    "67640029ad00c520781469b808080d280041eb000cdfe60078"
    "9115";
const char kHevcVps[] =
    "40010c01ffff016000000300900000030000"
    "03005a959809";
const char kHevcSps[] =
    "420101016000000300900000030000"
    "03005aa006b201e1d796566924cae6808000000300800000"
    "0f04";
const char kHevcPps[] = "4401c172b46240";

api::v1::Track VideoTrack(api::v1::Codec codec, const std::string& config) {
  api::v1::Track track;
  track.set_track_id(1);
  track.set_side(api::v1::SIDE_CLERK);
  track.set_source(api::v1::SOURCE_CAMERA);
  track.set_codec(codec);
  track.set_codec_config(config);
  track.set_width(16);
  track.set_height(16);
  return track;
}

TEST(SplitAnnexBTest, TakesBothStartCodesAndTrailingZeros) {
  const std::string stream =
      Hex("0000000109100000016588840000000000010605ff00");
  const auto units = SplitAnnexB(stream);
  ASSERT_EQ(units.size(), 3u);
  EXPECT_EQ(units[0], Hex("0910"));
  EXPECT_EQ(units[1], Hex("658884"));
  EXPECT_EQ(units[2], Hex("0605ff"));
  EXPECT_EQ(JoinLengthPrefixed(units), Hex("000000020910000000036588840000000"
                                           "30605ff"));
}

TEST(SplitAnnexBTest, NothingComesOfNothing) {
  EXPECT_TRUE(SplitAnnexB("").empty());
  EXPECT_TRUE(SplitAnnexB(Hex("000001")).empty());
  EXPECT_TRUE(SplitAnnexB(Hex("6588840000")).empty());
}

TEST(SplitLengthPrefixedTest, TakesShortLengths) {
  const std::string packet =
      Hex("0002091000036588"
          "84");
  const auto units = SplitLengthPrefixed(packet, 2);
  ASSERT_TRUE(units.ok());
  ASSERT_EQ(units->size(), 2u);
  EXPECT_EQ((*units)[1], Hex("658884"));
  EXPECT_FALSE(SplitLengthPrefixed(packet, 4).ok());
  EXPECT_FALSE(SplitLengthPrefixed(Hex("000209"), 2).ok());
  EXPECT_FALSE(SplitLengthPrefixed(Hex("00"), 2).ok());
}

TEST(ParameterSetsTest, BuildsAvcConfig) {
  ParameterSets sets(NalCodec::kH264);
  EXPECT_FALSE(sets.complete());
  EXPECT_FALSE(sets.BuildConfig().ok());
  EXPECT_TRUE(sets.Add(Hex(kAvcSps)));
  EXPECT_TRUE(sets.Add(Hex(kAvcPps)));
  // A slice is none; neither is what is known.
  EXPECT_FALSE(sets.Add(Hex("658884")));
  EXPECT_FALSE(sets.Add(Hex(kAvcSps)));
  // Zeros at the end belong to the byte stream.
  EXPECT_FALSE(sets.Add(Hex(kAvcPps) + std::string(1, '\0')));
  ASSERT_TRUE(sets.complete());
  const auto config = sets.BuildConfig();
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(absl::BytesToHexString(*config),
            std::string("0142c01fffe1000f") + kAvcSps + "010004" + kAvcPps);
  EXPECT_TRUE(media::CheckTrack(VideoTrack(api::v1::CODEC_H264, *config)).ok());
}

TEST(ParameterSetsTest, TheNewestOfAnIdHolds) {
  ParameterSets sets(NalCodec::kH264);
  sets.Add(Hex(kAvcSps));
  sets.Add(Hex(kAvcPps));
  EXPECT_TRUE(sets.Add(Hex(kAvcOtherSps)));
  const auto config = sets.BuildConfig();
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(
      absl::BytesToHexString(*config),
      std::string("0142c01effe1000f") + kAvcOtherSps + "010004" + kAvcPps);
}

TEST(ParameterSetsTest, HighProfilesSayTheirDepth) {
  ParameterSets sets(NalCodec::kH264);
  sets.Add(Hex(kAvcHighSps));
  sets.Add(Hex("68ee3cb0"));
  const auto config = sets.BuildConfig();
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(absl::BytesToHexString(config->substr(config->size() - 4)),
            "fdf8f800");
  EXPECT_TRUE(media::CheckTrack(VideoTrack(api::v1::CODEC_H264, *config)).ok());
}

TEST(ParameterSetsTest, BuildsHevcConfig) {
  ParameterSets sets(NalCodec::kH265);
  EXPECT_TRUE(sets.Add(Hex(kHevcPps)));
  EXPECT_TRUE(sets.Add(Hex(kHevcSps)));
  EXPECT_FALSE(sets.complete());
  EXPECT_TRUE(sets.Add(Hex(kHevcVps)));
  const auto config = sets.BuildConfig();
  ASSERT_TRUE(config.ok()) << config.status();
  // The profile, tier and level that the encoder's own hvcC has.
  EXPECT_EQ(absl::BytesToHexString(config->substr(0, 13)),
            "0101600000009000000000005a");
  // 4:2:0, eight bits.
  EXPECT_EQ(absl::BytesToHexString(config->substr(16, 3)), "fdf8f8");
  EXPECT_TRUE(media::CheckTrack(VideoTrack(api::v1::CODEC_H265, *config)).ok());
  const auto parsed = ParseNalConfig(NalCodec::kH265, *config);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->length_bytes, 4);
  EXPECT_EQ(
      parsed->parameter_sets,
      (std::vector<std::string>{Hex(kHevcVps), Hex(kHevcSps), Hex(kHevcPps)}));
}

TEST(ParameterSetsTest, NewSequences) {
  EXPECT_TRUE(StartsNewSequence(NalCodec::kH264, Hex("658884")));
  EXPECT_FALSE(StartsNewSequence(NalCodec::kH264, Hex("419a00")));
  EXPECT_TRUE(StartsNewSequence(NalCodec::kH265, Hex("2601af")));
  EXPECT_FALSE(StartsNewSequence(NalCodec::kH265, Hex("0201d0")));
}

TEST(ParameterSetsTest, SurvivesRandomBytes) {
  std::mt19937 random(3);
  for (const NalCodec codec : {NalCodec::kH264, NalCodec::kH265}) {
    ParameterSets sets(codec);
    for (int i = 0; i < 20'000; ++i) {
      std::string bytes(random() % 24, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      if (!bytes.empty() && i % 2 == 0) {
        bytes[0] = codec == NalCodec::kH264 ? 0x67 : 0x42;
      }
      sets.Add(bytes);
      SplitAnnexB(bytes);
      SplitLengthPrefixed(bytes, 2).status().IgnoreError();
      ParseNalConfig(codec, bytes).status().IgnoreError();
    }
    if (sets.complete()) sets.BuildConfig().status().IgnoreError();
  }
}

TEST(ParseNalConfigTest, RefusesEveryCut) {
  ParameterSets sets(NalCodec::kH264);
  sets.Add(Hex(kAvcSps));
  sets.Add(Hex(kAvcPps));
  const std::string config = *sets.BuildConfig();
  for (size_t size = 0; size < config.size(); ++size) {
    EXPECT_FALSE(ParseNalConfig(NalCodec::kH264, config.substr(0, size)).ok())
        << size;
  }
}

}  // namespace
}  // namespace diptych::gateway
