#include "archiver/media/codec_parameters.h"

extern "C" {
#include <libavcodec/codec_id.h>
#include <libavcodec/codec_par.h>
#include <libavcodec/defs.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mem.h>
}

#include <cstdint>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {
namespace {

AVCodecID CodecIdOf(uint32_t codec) {
  switch (codec) {
    case api::v1::CODEC_H264:
      return AV_CODEC_ID_H264;
    case api::v1::CODEC_H265:
      return AV_CODEC_ID_HEVC;
    case api::v1::CODEC_VP8:
      return AV_CODEC_ID_VP8;
    case api::v1::CODEC_VP9:
      return AV_CODEC_ID_VP9;
    case api::v1::CODEC_AV1:
      return AV_CODEC_ID_AV1;
    case api::v1::CODEC_OPUS:
      return AV_CODEC_ID_OPUS;
    case api::v1::CODEC_AAC:
      return AV_CODEC_ID_AAC;
    case api::v1::CODEC_G711_ALAW:
      return AV_CODEC_ID_PCM_ALAW;
    case api::v1::CODEC_G711_ULAW:
      return AV_CODEC_ID_PCM_MULAW;
    default:
      return AV_CODEC_ID_NONE;
  }
}

}  // namespace

absl::Status FillCodecParameters(const stored::v1::Track& track,
                                 AVCodecParameters* parameters) {
  parameters->codec_id = CodecIdOf(track.codec());
  if (parameters->codec_id == AV_CODEC_ID_NONE) {
    return absl::InvalidArgumentError(absl::StrCat(
        "track ", track.track_id(), " has the unknown codec ", track.codec()));
  }
  const std::string& config = track.codec_config();
  if (!config.empty()) {
    parameters->extradata = static_cast<uint8_t*>(
        av_mallocz(config.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (parameters->extradata == nullptr) {
      return absl::ResourceExhaustedError("out of memory");
    }
    std::memcpy(parameters->extradata, config.data(), config.size());
    parameters->extradata_size = static_cast<int>(config.size());
  }
  if (track.codec() < api::v1::CODEC_OPUS) {
    parameters->codec_type = AVMEDIA_TYPE_VIDEO;
    parameters->width = static_cast<int>(track.width());
    parameters->height = static_cast<int>(track.height());
    return absl::OkStatus();
  }
  parameters->codec_type = AVMEDIA_TYPE_AUDIO;
  parameters->sample_rate = static_cast<int>(track.sample_rate_hz());
  av_channel_layout_default(&parameters->ch_layout,
                            static_cast<int>(track.channels()));
  if (track.codec() == api::v1::CODEC_OPUS && config.size() >= 12) {
    // OpusHead's pre-skip (RFC 7845, section 5.1), in samples at 48 kHz.
    parameters->initial_padding = static_cast<uint8_t>(config[10]) |
                                  static_cast<uint8_t>(config[11]) << 8;
    parameters->sample_rate = 48000;
  }
  if (track.codec() == api::v1::CODEC_G711_ALAW ||
      track.codec() == api::v1::CODEC_G711_ULAW) {
    parameters->bits_per_coded_sample = 8;
    parameters->block_align = static_cast<int>(track.channels());
  }
  return absl::OkStatus();
}

}  // namespace diptych::media
