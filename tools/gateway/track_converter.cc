#include "tools/gateway/track_converter.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/util/message_differencer.h>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/canonical.h"
#include "tools/gateway/av1_stream.h"
#include "tools/gateway/nal_units.h"
#include "tools/gateway/picture_parser.h"

namespace diptych::gateway {
namespace {

using api::v1::Track;

uint8_t At(absl::string_view bytes, size_t index) {
  return static_cast<uint8_t>(bytes[index]);
}

// H.264 and H.265.
class NalConverter : public TrackConverter {
 public:
  NalConverter(const Track& track, NalCodec codec)
      : TrackConverter(track), codec_(codec), sets_(codec) {}

 protected:
  absl::Status ReadExtradata(absl::string_view extradata) override {
    if (extradata.empty()) return absl::OkStatus();
    if (StartsWithStartCode(extradata)) {
      length_bytes_ = 0;
      for (const auto unit : SplitAnnexB(extradata)) sets_.Add(unit);
      return UpdateConfig();
    }
    ASSIGN_OR_RETURN(const NalConfig config, ParseNalConfig(codec_, extradata));
    length_bytes_ = config.length_bytes;
    ParameterSets sets(codec_);
    for (const auto& unit : config.parameter_sets) sets.Add(unit);
    sets_ = std::move(sets);
    // What is canonical already stays as it is, to the byte.
    Track candidate = track();
    candidate.set_codec_config(std::string(extradata));
    if (media::CheckTrack(candidate).ok()) {
      mutable_track()->set_codec_config(candidate.codec_config());
      return absl::OkStatus();
    }
    return UpdateConfig();
  }

  absl::StatusOr<std::string> ReadPacket(absl::string_view data,
                                         bool key_frame) override {
    std::vector<absl::string_view> units;
    if (length_bytes_ == 0) {
      units = SplitAnnexB(data);
      if (units.empty()) {
        return absl::InvalidArgumentError("no NAL unit in the packet");
      }
    } else {
      ASSIGN_OR_RETURN(units, SplitLengthPrefixed(data, length_bytes_));
    }
    for (const auto unit : units) sets_changed_ |= sets_.Add(unit);
    std::string payload =
        length_bytes_ == 4 ? std::string(data) : JoinLengthPrefixed(units);
    if (sets_changed_ && (key_frame || !ready())) {
      sets_changed_ = false;
      // A decoder that runs already takes them from the packets.
      mutable_track()->set_parameters_in_band(ready());
      RETURN_IF_ERROR(UpdateConfig());
      UpdatePictureSize(payload);
    }
    return payload;
  }

 private:
  absl::Status UpdateConfig() {
    if (!sets_.complete()) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::string config, sets_.BuildConfig());
    mutable_track()->set_codec_config(std::move(config));
    return absl::OkStatus();
  }

  void UpdatePictureSize(absl::string_view payload) {
    auto parser = PictureParser::Create(codec_, track().codec_config());
    if (!parser.ok()) return;
    const PictureParser::Picture picture = parser->Parse(payload);
    if (picture.width == 0 || picture.height == 0) return;
    mutable_track()->set_width(picture.width);
    mutable_track()->set_height(picture.height);
  }

  const NalCodec codec_;
  ParameterSets sets_;
  // Since the configuration was built; it is built again at a key frame.
  bool sets_changed_ = false;
  // 0: Annex B.
  int length_bytes_ = 0;
};

class Av1Converter : public TrackConverter {
 public:
  using TrackConverter::TrackConverter;

 protected:
  absl::Status ReadExtradata(absl::string_view extradata) override {
    if (extradata.empty()) return absl::OkStatus();
    Track candidate = track();
    candidate.set_codec_config(std::string(extradata));
    if (media::CheckTrack(candidate).ok()) {
      mutable_track()->set_codec_config(candidate.codec_config());
      sequence_header_ = FindAv1SequenceHeader(extradata.substr(4));
      return absl::OkStatus();
    }
    // Some containers give bare OBUs.
    const auto obus = CanonicalAv1(extradata);
    if (!obus.ok()) return absl::OkStatus();
    return TakeSequenceHeader(*obus);
  }

  absl::StatusOr<std::string> ReadPacket(absl::string_view data,
                                         bool key_frame) override {
    ASSIGN_OR_RETURN(std::string payload, CanonicalAv1(data));
    if (key_frame || !ready()) RETURN_IF_ERROR(TakeSequenceHeader(payload));
    return payload;
  }

 private:
  absl::Status TakeSequenceHeader(absl::string_view obus) {
    auto header = FindAv1SequenceHeader(obus);
    if (!header.has_value() || header == sequence_header_) {
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(std::string config, BuildAv1Config(*header));
    mutable_track()->set_parameters_in_band(ready());
    mutable_track()->set_codec_config(std::move(config));
    sequence_header_ = std::move(header);
    return absl::OkStatus();
  }

  std::optional<std::string> sequence_header_;
};

class Vp8Converter : public TrackConverter {
 public:
  using TrackConverter::TrackConverter;

 protected:
  absl::Status ReadExtradata(absl::string_view) override {
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ReadPacket(absl::string_view data,
                                         bool key_frame) override {
    // A key frame says how large it is, in 14 bits each.
    if (key_frame && data.size() >= 10 && (At(data, 0) & 1) == 0) {
      const uint32_t width = (At(data, 6) | At(data, 7) << 8) & 0x3fff;
      const uint32_t height = (At(data, 8) | At(data, 9) << 8) & 0x3fff;
      if (width != 0 && height != 0) {
        mutable_track()->set_width(width);
        mutable_track()->set_height(height);
      }
    }
    return std::string(data);
  }
};

class OpusConverter : public TrackConverter {
 public:
  using TrackConverter::TrackConverter;

 protected:
  absl::Status ReadExtradata(absl::string_view extradata) override {
    if (!extradata.empty()) {
      mutable_track()->set_codec_config(std::string(extradata));
      if (extradata.size() > 9) {
        mutable_track()->set_channels(At(extradata, 9));
      }
      return absl::OkStatus();
    }
    // RTP describes Opus in its SDP only. What the encoder's delay was is not
    // known; more than two channels could not be mapped.
    const uint32_t channels = track().channels();
    if (channels < 1 || channels > 2) return absl::OkStatus();
    std::string head = "OpusHead";
    head.push_back('\x01');
    head.push_back(static_cast<char>(channels));
    head.append(2, '\0');
    const uint32_t rate = track().sample_rate_hz();
    for (int i = 0; i < 4; ++i) {
      head.push_back(static_cast<char>(rate >> (8 * i)));
    }
    head.append(3, '\0');
    mutable_track()->set_codec_config(std::move(head));
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ReadPacket(absl::string_view data,
                                         bool) override {
    return std::string(data);
  }
};

class AacConverter : public TrackConverter {
 public:
  using TrackConverter::TrackConverter;

 protected:
  absl::Status ReadExtradata(absl::string_view extradata) override {
    if (extradata.empty()) return absl::OkStatus();
    mutable_track()->set_codec_config(std::string(extradata));
    from_container_ = true;
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ReadPacket(absl::string_view data,
                                         bool) override {
    constexpr size_t kHeader_bytes = 7;
    if (data.size() < kHeader_bytes || At(data, 0) != 0xff ||
        (At(data, 1) & 0xf6) != 0xf0) {
      return std::string(data);
    }
    const bool has_crc = (At(data, 1) & 1) == 0;
    const size_t header_bytes = kHeader_bytes + (has_crc ? 2 : 0);
    const size_t frame_bytes =
        (At(data, 3) & 3) << 11 | At(data, 4) << 3 | At(data, 5) >> 5;
    if ((At(data, 6) & 3) != 0) {
      return absl::InvalidArgumentError("an ADTS frame of several blocks");
    }
    if (frame_bytes != data.size() || frame_bytes <= header_bytes) {
      return absl::InvalidArgumentError("an ADTS frame of the wrong length");
    }
    if (!from_container_) {
      const uint32_t object_type = (At(data, 2) >> 6) + 1;
      const uint32_t rate = (At(data, 2) >> 2) & 0xf;
      const uint32_t channels = (At(data, 2) & 1) << 2 | At(data, 3) >> 6;
      std::string config;
      config.push_back(static_cast<char>(object_type << 3 | rate >> 1));
      config.push_back(static_cast<char>((rate & 1) << 7 | channels << 3));
      mutable_track()->set_codec_config(std::move(config));
    }
    return std::string(data.substr(header_bytes));
  }

 private:
  bool from_container_ = false;
};

// VP9 and G.711: packets as they are, no parameters.
class PlainConverter : public TrackConverter {
 public:
  using TrackConverter::TrackConverter;

 protected:
  absl::Status ReadExtradata(absl::string_view) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadPacket(absl::string_view data,
                                         bool) override {
    return std::string(data);
  }
};

api::v1::Codec CodecOf(AVCodecID id) {
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
    case AV_CODEC_ID_PCM_MULAW:
      return api::v1::CODEC_G711_ULAW;
    default:
      return api::v1::CODEC_UNSPECIFIED;
  }
}

std::unique_ptr<TrackConverter> MakeConverter(const Track& track) {
  switch (track.codec()) {
    case api::v1::CODEC_H264:
      return std::make_unique<NalConverter>(track, NalCodec::kH264);
    case api::v1::CODEC_H265:
      return std::make_unique<NalConverter>(track, NalCodec::kH265);
    case api::v1::CODEC_AV1:
      return std::make_unique<Av1Converter>(track);
    case api::v1::CODEC_VP8:
      return std::make_unique<Vp8Converter>(track);
    case api::v1::CODEC_OPUS:
      return std::make_unique<OpusConverter>(track);
    case api::v1::CODEC_AAC:
      return std::make_unique<AacConverter>(track);
    default:
      return std::make_unique<PlainConverter>(track);
  }
}

bool SameTrack(const Track& a, const Track& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrackConverter>> TrackConverter::Create(
    const AVCodecParameters& parameters, api::v1::Side side,
    uint32_t track_id) {
  const api::v1::Codec codec = CodecOf(parameters.codec_id);
  if (codec == api::v1::CODEC_UNSPECIFIED) {
    if (parameters.codec_id == AV_CODEC_ID_NONE) {
      return absl::UnimplementedError("its codec is unknown");
    }
    return absl::UnimplementedError(
        absl::StrCat("its codec, ", avcodec_get_name(parameters.codec_id),
                     ", is not one that can be archived"));
  }
  Track track;
  track.set_track_id(track_id);
  track.set_side(side);
  track.set_codec(codec);
  if (media::IsVideo(codec)) {
    track.set_source(api::v1::SOURCE_CAMERA);
    track.set_width(parameters.width > 0 ? parameters.width : 0);
    track.set_height(parameters.height > 0 ? parameters.height : 0);
  } else {
    track.set_source(api::v1::SOURCE_MICROPHONE);
    track.set_sample_rate_hz(parameters.sample_rate > 0 ? parameters.sample_rate
                                                        : 0);
    track.set_channels(parameters.ch_layout.nb_channels);
  }
  std::unique_ptr<TrackConverter> converter = MakeConverter(track);
  const absl::string_view extradata(
      reinterpret_cast<const char*>(parameters.extradata),
      parameters.extradata == nullptr ? 0 : parameters.extradata_size);
  RETURN_IF_ERROR(converter->SetExtradata(extradata));
  if (media::CheckTrack(converter->track()).ok()) {
    converter->ready_ = true;
    converter->announced_ = converter->track_;
  }
  return converter;
}

absl::Status TrackConverter::SetExtradata(absl::string_view extradata) {
  const absl::Status status = ReadExtradata(extradata);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat("its codec parameters are broken: ", status.message()));
}

void TrackConverter::SetAudioFormat(uint32_t sample_rate_hz,
                                    uint32_t channels) {
  if (sample_rate_hz != 0) track_.set_sample_rate_hz(sample_rate_hz);
  if (channels != 0) track_.set_channels(channels);
}

void TrackConverter::SetPictureSize(uint32_t width, uint32_t height) {
  track_.set_width(width);
  track_.set_height(height);
}

absl::StatusOr<TrackConverter::Packet> TrackConverter::Convert(
    absl::string_view data, bool key_frame) {
  Packet packet;
  ASSIGN_OR_RETURN(packet.payload, ReadPacket(data, key_frame));
  if (!SameTrack(track_, announced_)) {
    if (const absl::Status status = media::CheckTrack(track_); !status.ok()) {
      // Parameters that are no good do not replace good ones.
      if (ready_) track_ = announced_;
      return status;
    }
    packet.change = ready_ ? Change::kChanged : Change::kBecameReady;
    ready_ = true;
    announced_ = track_;
  }
  RETURN_IF_ERROR(media::CheckPayload(track_, packet.payload));
  return packet;
}

}  // namespace diptych::gateway
