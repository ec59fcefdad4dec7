#include "archiver/media/canonical.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/codec_config.h"
#include "archiver/media/codec_payload.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::media {
namespace {

using api::v1::Codec;
using api::v1::Track;

constexpr uint32_t kMaxPictureSide = 16384;
constexpr uint32_t kMaxSampleRate_hz = 192'000;
constexpr uint32_t kMaxAudioChannels = 8;
constexpr size_t kMaxLanguage_bytes = 35;

absl::Status TrackError(const Track& track, absl::string_view reason,
                        absl::string_view what) {
  api::v1::ErrorDetail detail;
  detail.set_reason(std::string(reason));
  detail.set_side(track.side());
  detail.set_track_id(track.track_id());
  return base::MakeError(absl::StatusCode::kInvalidArgument,
                         absl::StrCat("track ", track.track_id(), ": ", what),
                         detail);
}

absl::Status BadTrack(const Track& track, absl::string_view what) {
  return TrackError(track, "BAD_TRACK", what);
}

bool IsKnown(Codec codec) {
  return codec != api::v1::CODEC_UNSPECIFIED && api::v1::Codec_IsValid(codec);
}

absl::Status CheckVideoFields(const Track& track) {
  if (track.source() == api::v1::SOURCE_MICROPHONE) {
    return BadTrack(track, "a microphone has no video");
  }
  if (track.width() < 1 || track.width() > kMaxPictureSide ||
      track.height() < 1 || track.height() > kMaxPictureSide) {
    return BadTrack(
        track, absl::StrCat("a picture of ", track.width(), "x", track.height(),
                            " pixels; each must be 1 to ", kMaxPictureSide));
  }
  if (track.sample_rate_hz() != 0 || track.channels() != 0) {
    return BadTrack(track, "video with a sample rate or channels");
  }
  return absl::OkStatus();
}

absl::Status CheckAudioFields(const Track& track) {
  if (track.width() != 0 || track.height() != 0) {
    return BadTrack(track, "audio with a width or height");
  }
  const bool g711 = track.codec() == api::v1::CODEC_G711_ALAW ||
                    track.codec() == api::v1::CODEC_G711_ULAW;
  const uint32_t max_rate = g711 ? 48'000 : kMaxSampleRate_hz;
  const uint32_t min_rate = track.codec() == api::v1::CODEC_AAC ? 7'350 : 8'000;
  const uint32_t max_channels = g711 ? 2 : kMaxAudioChannels;
  if (track.sample_rate_hz() < min_rate || track.sample_rate_hz() > max_rate) {
    return BadTrack(
        track, absl::StrCat("a sample rate of ", track.sample_rate_hz(),
                            " Hz; it must be ", min_rate, " to ", max_rate));
  }
  if (track.channels() < 1 || track.channels() > max_channels) {
    return BadTrack(
        track, absl::StrCat(track.channels(), " channels; there must be 1 to ",
                            max_channels));
  }
  return absl::OkStatus();
}

absl::Status CheckLanguage(const Track& track) {
  if (track.language().size() > kMaxLanguage_bytes) {
    return BadTrack(track, "the language tag is too long");
  }
  for (const char c : track.language()) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-') {
      return BadTrack(track, "the language is not a BCP 47 tag");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckConfig(const Track& track) {
  const absl::string_view config = track.codec_config();
  switch (track.codec()) {
    case api::v1::CODEC_H264:
      return CheckAvcConfig(config);
    case api::v1::CODEC_H265:
      return CheckHevcConfig(config);
    case api::v1::CODEC_AV1:
      return CheckAv1Config(config);
    case api::v1::CODEC_OPUS:
      return CheckOpusHead(config, track.sample_rate_hz(), track.channels());
    case api::v1::CODEC_AAC:
      return CheckAudioSpecificConfig(config, track.sample_rate_hz(),
                                      track.channels());
    default:
      if (!config.empty()) {
        return absl::InvalidArgumentError("this codec has no parameters");
      }
      return absl::OkStatus();
  }
}

absl::Status CheckPayloadForm(const Track& track, absl::string_view payload) {
  switch (track.codec()) {
    case api::v1::CODEC_H264:
      return CheckNalUnits(payload, /*header_bytes=*/1);
    case api::v1::CODEC_H265:
      return CheckNalUnits(payload, /*header_bytes=*/2);
    case api::v1::CODEC_AV1:
      return CheckAv1Payload(payload);
    case api::v1::CODEC_VP8:
      return CheckVp8Payload(payload);
    case api::v1::CODEC_VP9:
      return CheckVp9Payload(payload);
    case api::v1::CODEC_OPUS:
      return CheckOpusPayload(payload, OpusStreamCount(track.codec_config()));
    case api::v1::CODEC_AAC:
      return CheckAacPayload(payload);
    case api::v1::CODEC_G711_ALAW:
    case api::v1::CODEC_G711_ULAW:
      if (payload.size() % track.channels() != 0) {
        return absl::InvalidArgumentError("not a whole number of samples");
      }
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("the codec is unknown");
  }
}

}  // namespace

bool IsVideo(Codec codec) {
  switch (codec) {
    case api::v1::CODEC_H264:
    case api::v1::CODEC_H265:
    case api::v1::CODEC_VP8:
    case api::v1::CODEC_VP9:
    case api::v1::CODEC_AV1:
      return true;
    default:
      return false;
  }
}

absl::Status CheckTrack(const Track& track) {
  if (track.track_id() < 1 || track.track_id() > limits::kMaxTrackId) {
    return BadTrack(
        track, absl::StrCat("track ids go from 1 to ", limits::kMaxTrackId));
  }
  if (!IsKnown(track.codec())) {
    return TrackError(track, "UNKNOWN_CODEC",
                      absl::StrCat("codec ", static_cast<int>(track.codec()),
                                   " is not one that can be archived"));
  }
  if (track.side() != api::v1::SIDE_RESIDENT &&
      track.side() != api::v1::SIDE_CLERK) {
    return BadTrack(track, "it belongs to neither side");
  }
  if (track.source() == api::v1::SOURCE_UNSPECIFIED ||
      !api::v1::Source_IsValid(track.source())) {
    return BadTrack(track, "it does not say what it shows or hears");
  }
  RETURN_IF_ERROR(IsVideo(track.codec()) ? CheckVideoFields(track)
                                         : CheckAudioFields(track));
  RETURN_IF_ERROR(CheckLanguage(track));
  if (track.codec_config().size() > limits::kMaxCodecConfig_bytes) {
    return TrackError(track, "BAD_CODEC_CONFIG",
                      absl::StrCat("codec parameters of over ",
                                   limits::kMaxCodecConfig_bytes, " bytes"));
  }
  if (const absl::Status status = CheckConfig(track); !status.ok()) {
    return TrackError(track, "BAD_CODEC_CONFIG", status.message());
  }
  return absl::OkStatus();
}

absl::Status CheckPayload(const Track& track, absl::string_view payload) {
  if (payload.empty()) return TrackError(track, "BAD_PAYLOAD", "empty packet");
  if (payload.size() > limits::kMaxPacket_bytes) {
    return TrackError(
        track, "BAD_PAYLOAD",
        absl::StrCat("a packet of ", payload.size(), " bytes; the most is ",
                     limits::kMaxPacket_bytes));
  }
  if (const absl::Status status = CheckPayloadForm(track, payload);
      !status.ok()) {
    return TrackError(track, "BAD_PAYLOAD", status.message());
  }
  return absl::OkStatus();
}

}  // namespace diptych::media
