#include "indexer/retrieval/stream_description.h"

extern "C" {
#include <libavcodec/codec_id.h>
#include <libavcodec/codec_par.h>
#include <libavformat/avformat.h>
#include <libavutil/common.h>
#include <libavutil/dict.h>
#include <libavutil/pixfmt.h>
}

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/codec_parameters.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr int kAacFrame_samples = 1024;
// "OpusHead", version, channels, then the pre-skip (RFC 7845, 5.1).
constexpr size_t kOpusPreSkipOffset = 10;

struct CodecEntry {
  api::v1::Codec codec;
  absl::string_view name;
  bool in_mp4;
  bool in_webm;
};

// What libav's muxers take.
constexpr CodecEntry kCodecs[] = {
    {api::v1::CODEC_H264, "H.264", true, false},
    {api::v1::CODEC_H265, "H.265", true, false},
    {api::v1::CODEC_VP8, "VP8", false, true},
    {api::v1::CODEC_VP9, "VP9", true, true},
    {api::v1::CODEC_AV1, "AV1", true, true},
    {api::v1::CODEC_OPUS, "Opus", true, true},
    {api::v1::CODEC_AAC, "AAC", true, false},
    {api::v1::CODEC_G711_ALAW, "G.711 A-law", false, false},
    {api::v1::CODEC_G711_ULAW, "G.711 mu-law", false, false},
};

const CodecEntry* FindCodec(uint32_t codec) {
  for (const CodecEntry& entry : kCodecs) {
    if (static_cast<uint32_t>(entry.codec) == codec) return &entry;
  }
  return nullptr;
}

// ISO 639-2 of the languages that a counter is likely to hear; containers want
// three letters where BCP 47 prefers two.
struct Language {
  absl::string_view bcp47;
  absl::string_view terminological;
  absl::string_view bibliographic;
};

constexpr Language kLanguages[] = {
    {"ar", "ara", "ara"}, {"bo", "bod", "tib"}, {"de", "deu", "ger"},
    {"en", "eng", "eng"}, {"es", "spa", "spa"}, {"fr", "fra", "fre"},
    {"it", "ita", "ita"}, {"ja", "jpn", "jpn"}, {"ko", "kor", "kor"},
    {"pt", "por", "por"}, {"ru", "rus", "rus"}, {"th", "tha", "tha"},
    {"ug", "uig", "uig"}, {"vi", "vie", "vie"}, {"zh", "zho", "chi"},
};

// Empty if there is no such code.
std::string ContainerLanguage(absl::string_view bcp47, bool mp4) {
  const std::string primary =
      absl::AsciiStrToLower(bcp47.substr(0, bcp47.find('-')));
  for (const Language& language : kLanguages) {
    if (primary == language.bcp47) {
      return std::string(mp4 ? language.terminological
                             : language.bibliographic);
    }
  }
  return primary.size() == 3 ? primary : "";
}

std::string Title(const stored::v1::Track& track) {
  const absl::string_view side =
      track.side() == stored::v1::SIDE_CLERK ? "clerk" : "resident";
  switch (track.source()) {
    case api::v1::SOURCE_CAMERA:
      return absl::StrCat(side, " camera");
    case api::v1::SOURCE_MICROPHONE:
      return absl::StrCat(side, " microphone");
    case api::v1::SOURCE_SCREEN:
      return absl::StrCat(side, " screen");
    case api::v1::SOURCE_DOCUMENT_CAMERA:
      return absl::StrCat(side, " document camera");
    default:
      return std::string(side);
  }
}

// Profile and sample format of a VP9 stream, from the first bytes of a frame's
// uncompressed header; profile 0 (8 bits, 4:2:0) if they can't be told.
struct Vp9Format {
  int profile = 0;
  AVPixelFormat pixel_format = AV_PIX_FMT_YUV420P;
};

Vp9Format ParseVp9(absl::string_view frame) {
  Vp9Format format;
  size_t at = 0;
  const auto bits = [&](int count) {
    uint32_t value = 0;
    for (; count > 0; --count, ++at) {
      const size_t byte = at / 8;
      if (byte >= frame.size()) return uint32_t{0};
      value = value << 1 |
              ((static_cast<uint8_t>(frame[byte]) >> (7 - at % 8)) & 1u);
    }
    return value;
  };
  if (bits(2) != 2) return format;
  const uint32_t low = bits(1);
  const uint32_t profile = bits(1) << 1 | low;
  if (profile == 3) bits(1);
  const bool show_existing = bits(1) != 0;
  const bool key_frame = bits(1) == 0;
  bits(2);
  if (show_existing || !key_frame || bits(24) != 0x498342) return format;
  format.profile = static_cast<int>(profile);
  const bool twelve_bits = profile >= 2 && bits(1) != 0;
  constexpr uint32_t kRgb = 7;
  if (bits(3) == kRgb) {
    format.pixel_format = profile < 2   ? AV_PIX_FMT_GBRP
                          : twelve_bits ? AV_PIX_FMT_GBRP12LE
                                        : AV_PIX_FMT_GBRP10LE;
    return format;
  }
  bits(1);
  bool half_x = true;
  bool half_y = true;
  if (profile == 1 || profile == 3) {
    half_x = bits(1) != 0;
    half_y = bits(1) != 0;
  }
  // By [8, 10, 12 bits][4:2:0, 4:2:2, 4:4:4, 4:4:0].
  constexpr AVPixelFormat kFormats[3][4] = {
      {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV422P, AV_PIX_FMT_YUV444P,
       AV_PIX_FMT_YUV440P},
      {AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV422P10LE, AV_PIX_FMT_YUV444P10LE,
       AV_PIX_FMT_YUV440P10LE},
      {AV_PIX_FMT_YUV420P12LE, AV_PIX_FMT_YUV422P12LE, AV_PIX_FMT_YUV444P12LE,
       AV_PIX_FMT_YUV440P12LE}};
  const int depth = profile < 2 ? 0 : twelve_bits ? 2 : 1;
  const int subsampling = half_x ? (half_y ? 0 : 1) : (half_y ? 3 : 2);
  format.pixel_format = kFormats[depth][subsampling];
  return format;
}

bool IsMp4(api::v1::Container container) {
  return container == api::v1::CONTAINER_MP4 ||
         container == api::v1::CONTAINER_FRAGMENTED_MP4;
}

}  // namespace

absl::Status CheckContainer(api::v1::Container container,
                            const std::vector<stored::v1::Track>& tracks) {
  absl::string_view name;
  switch (container) {
    case api::v1::CONTAINER_MATROSKA:
      return absl::OkStatus();
    case api::v1::CONTAINER_MP4:
    case api::v1::CONTAINER_FRAGMENTED_MP4:
      name = "MP4";
      break;
    case api::v1::CONTAINER_WEBM:
      name = "WebM";
      break;
    default:
      return absl::InvalidArgumentError("there is no such container");
  }
  std::set<std::string> refused;
  bool other_takes_all = true;
  for (const stored::v1::Track& track : tracks) {
    const CodecEntry* codec = FindCodec(track.codec());
    const bool taken =
        codec != nullptr && (IsMp4(container) ? codec->in_mp4 : codec->in_webm);
    if (!taken) {
      refused.insert(codec == nullptr ? "an unknown codec"
                                      : std::string(codec->name));
    }
    other_takes_all &=
        codec != nullptr && (IsMp4(container) ? codec->in_webm : codec->in_mp4);
  }
  if (refused.empty()) return absl::OkStatus();
  api::v1::ErrorDetail detail;
  detail.set_reason("CONTAINER_TAKES_NOT_CODEC");
  detail.set_field("container");
  return base::MakeError(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat(name, " can't carry ", absl::StrJoin(refused, " and "),
                   ": ask for Matroska",
                   !other_takes_all   ? ""
                   : IsMp4(container) ? " or WebM"
                                      : " or MP4"),
      detail);
}

absl::Status DescribeStream(const stored::v1::Track& track,
                            api::v1::Container container,
                            absl::string_view first_payload, AVStream* stream) {
  AVCodecParameters* parameters = stream->codecpar;
  RETURN_IF_ERROR(media::FillCodecParameters(track, parameters));
  if (parameters->codec_id == AV_CODEC_ID_AAC) {
    parameters->frame_size = kAacFrame_samples;
  }
  if (parameters->codec_id == AV_CODEC_ID_VP9 && IsMp4(container)) {
    const Vp9Format format = ParseVp9(first_payload);
    parameters->profile = format.profile;
    parameters->format = format.pixel_format;
  }
  // Apple's players want hvc1: parameter sets where the container says.
  if (parameters->codec_id == AV_CODEC_ID_HEVC && IsMp4(container)) {
    parameters->codec_tag = MKTAG('h', 'v', 'c', '1');
  }
  stream->disposition = AV_DISPOSITION_DEFAULT;
  const std::string title = Title(track);
  av_dict_set(&stream->metadata, "title", title.c_str(), 0);
  // What MP4 players show as the track's name.
  if (IsMp4(container)) {
    av_dict_set(&stream->metadata, "handler_name", title.c_str(), 0);
  }
  const std::string language =
      ContainerLanguage(track.language(), IsMp4(container));
  if (!language.empty()) {
    av_dict_set(&stream->metadata, "language", language.c_str(), 0);
  }
  return absl::OkStatus();
}

uint32_t DecoderDelaySamples(const stored::v1::Track& track) {
  const std::string& config = track.codec_config();
  if (track.codec() != api::v1::CODEC_OPUS ||
      config.size() < kOpusPreSkipOffset + 2) {
    return 0;
  }
  return static_cast<uint8_t>(config[kOpusPreSkipOffset]) |
         static_cast<uint32_t>(
             static_cast<uint8_t>(config[kOpusPreSkipOffset + 1]))
             << 8;
}

}  // namespace diptych::indexer
