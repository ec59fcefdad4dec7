#include "archiver/media/codec_config.h"

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/bit_reader.h"
#include "archiver/media/codec_payload.h"

namespace diptych::media {
namespace {

constexpr size_t kOpusHead_bytes = 19;
constexpr uint32_t kMaxOpusChannels = 8;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

// Takes fields off the front of a configuration, most significant byte first.
class Cursor {
 public:
  Cursor(absl::string_view name, absl::string_view bytes)
      : name_(name), bytes_(bytes) {}

  absl::StatusOr<uint32_t> Byte() {
    if (position_ >= bytes_.size()) return Cut();
    return static_cast<uint8_t>(bytes_[position_++]);
  }

  absl::StatusOr<uint32_t> Word() {
    ASSIGN_OR_RETURN(const uint32_t high, Byte());
    ASSIGN_OR_RETURN(const uint32_t low, Byte());
    return high << 8 | low;
  }

  absl::StatusOr<absl::string_view> Take(size_t count) {
    if (count > bytes_.size() - position_) return Cut();
    const absl::string_view taken = bytes_.substr(position_, count);
    position_ += count;
    return taken;
  }

  bool AtEnd() const { return position_ == bytes_.size(); }

  absl::Status Error(absl::string_view what) const {
    return Bad(absl::StrCat(name_, " byte ", position_, ": ", what));
  }

 private:
  absl::Status Cut() const {
    return Bad(absl::StrCat(name_, " ends at byte ", bytes_.size(),
                            ", in the middle of a field"));
  }

  const absl::string_view name_;
  const absl::string_view bytes_;
  size_t position_ = 0;
};

enum class NalKind { kAvc, kHevc };

// `count` parameter sets of `type`, each behind its 16-bit length.
absl::Status TakeParameterSets(Cursor* cursor, NalKind kind, uint32_t count,
                               uint32_t type) {
  for (uint32_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const uint32_t length, cursor->Word());
    if (length < 2) return cursor->Error("an empty parameter set");
    ASSIGN_OR_RETURN(const absl::string_view nal, cursor->Take(length));
    const auto header = static_cast<uint8_t>(nal[0]);
    const uint32_t nal_type =
        kind == NalKind::kAvc ? header & 0x1f : (header >> 1) & 0x3f;
    if ((header & 0x80) != 0 || nal_type != type) {
      return cursor->Error(absl::StrCat("a NAL unit that is not of type ", type,
                                        " among those that are"));
    }
  }
  return absl::OkStatus();
}

bool AvcProfileHasExtension(uint32_t profile) {
  return profile != 66 && profile != 77 && profile != 88;
}

struct AacFormat {
  uint32_t object_type = 0;
  uint32_t sample_rate_hz = 0;
  uint32_t channel_configuration = 0;
  // Of spectral band replication, where it is signalled; else 0.
  uint32_t extension_rate_hz = 0;
};

uint32_t ReadAacObjectType(BitReader* bits) {
  const uint32_t type = bits->Bits(5);
  return type == 31 ? 32 + bits->Bits(6) : type;
}

// 0 if the index is a reserved one.
uint32_t ReadAacRate(BitReader* bits) {
  constexpr uint32_t kRates[] = {96000, 88200, 64000, 48000, 44100,
                                 32000, 24000, 22050, 16000, 12000,
                                 11025, 8000,  7350};
  const uint32_t index = bits->Bits(4);
  if (index == 15) return bits->Bits(24);
  return index < std::size(kRates) ? kRates[index] : 0;
}

// Those that are streams of access units of their own.
bool IsAacObjectType(uint32_t type) {
  switch (type) {
    case 1:   // Main
    case 2:   // LC
    case 3:   // SSR
    case 4:   // LTP
    case 17:  // ER LC
    case 19:  // ER LTP
    case 20:  // ER scalable
    case 23:  // ER LD
    case 39:  // ER ELD
    case 42:  // USAC
      return true;
    default:
      return false;
  }
}

absl::StatusOr<AacFormat> ParseAudioSpecificConfig(absl::string_view config) {
  BitReader bits(config);
  AacFormat format;
  format.object_type = ReadAacObjectType(&bits);
  format.sample_rate_hz = ReadAacRate(&bits);
  format.channel_configuration = bits.Bits(4);
  if (format.object_type == 5 || format.object_type == 29) {
    format.extension_rate_hz = ReadAacRate(&bits);
    if (bits.ok() && format.extension_rate_hz == 0) {
      return Bad("AudioSpecificConfig: a reserved extension frequency");
    }
    format.object_type = ReadAacObjectType(&bits);
  }
  if (!bits.ok()) return Bad("AudioSpecificConfig is cut");
  return format;
}

uint32_t AacChannels(uint32_t configuration) {
  constexpr uint32_t kChannels[] = {0, 1, 2, 3, 4, 5, 6, 8,
                                    0, 0, 0, 7, 8, 0, 8, 0};
  return kChannels[configuration & 0xf];
}

}  // namespace

absl::Status CheckAvcConfig(absl::string_view config) {
  Cursor cursor("avcC", config);
  ASSIGN_OR_RETURN(const uint32_t version, cursor.Byte());
  if (version != 1) return cursor.Error("the version is not 1");
  ASSIGN_OR_RETURN(const uint32_t profile, cursor.Byte());
  RETURN_IF_ERROR(cursor.Take(2).status());
  ASSIGN_OR_RETURN(const uint32_t length_size, cursor.Byte());
  if ((length_size & 3) != 3) {
    return cursor.Error("NAL unit lengths must be of 4 bytes");
  }
  ASSIGN_OR_RETURN(const uint32_t sps_byte, cursor.Byte());
  const uint32_t sps_count = sps_byte & 0x1f;
  if (sps_count == 0) return cursor.Error("no sequence parameter set");
  RETURN_IF_ERROR(TakeParameterSets(&cursor, NalKind::kAvc, sps_count, 7));
  ASSIGN_OR_RETURN(const uint32_t pps_count, cursor.Byte());
  if (pps_count == 0) return cursor.Error("no picture parameter set");
  RETURN_IF_ERROR(TakeParameterSets(&cursor, NalKind::kAvc, pps_count, 8));
  // Many producers leave the high profiles' extension out.
  if (cursor.AtEnd()) return absl::OkStatus();
  if (!AvcProfileHasExtension(profile)) {
    return cursor.Error("bytes after the parameter sets");
  }
  RETURN_IF_ERROR(cursor.Take(3).status());
  ASSIGN_OR_RETURN(const uint32_t extension_count, cursor.Byte());
  RETURN_IF_ERROR(
      TakeParameterSets(&cursor, NalKind::kAvc, extension_count, 13));
  if (!cursor.AtEnd()) return cursor.Error("bytes after the end");
  return absl::OkStatus();
}

absl::Status CheckHevcConfig(absl::string_view config) {
  constexpr uint32_t kVps = 32;
  constexpr uint32_t kSps = 33;
  constexpr uint32_t kPps = 34;
  constexpr uint32_t kPrefixSei = 39;
  constexpr uint32_t kSuffixSei = 40;
  Cursor cursor("hvcC", config);
  ASSIGN_OR_RETURN(const uint32_t version, cursor.Byte());
  if (version != 1) return cursor.Error("the version is not 1");
  RETURN_IF_ERROR(cursor.Take(20).status());
  ASSIGN_OR_RETURN(const uint32_t length_size, cursor.Byte());
  if ((length_size & 3) != 3) {
    return cursor.Error("NAL unit lengths must be of 4 bytes");
  }
  ASSIGN_OR_RETURN(const uint32_t arrays, cursor.Byte());
  bool vps = false;
  bool sps = false;
  bool pps = false;
  for (uint32_t i = 0; i < arrays; ++i) {
    ASSIGN_OR_RETURN(const uint32_t type_byte, cursor.Byte());
    const uint32_t type = type_byte & 0x3f;
    if (type != kVps && type != kSps && type != kPps && type != kPrefixSei &&
        type != kSuffixSei) {
      return cursor.Error(absl::StrCat("an array of NAL units of type ", type));
    }
    ASSIGN_OR_RETURN(const uint32_t count, cursor.Word());
    RETURN_IF_ERROR(TakeParameterSets(&cursor, NalKind::kHevc, count, type));
    if (count == 0) continue;
    vps = vps || type == kVps;
    sps = sps || type == kSps;
    pps = pps || type == kPps;
  }
  if (!vps || !sps || !pps) {
    return cursor.Error(
        "a video, sequence or picture parameter set is missing");
  }
  if (!cursor.AtEnd()) return cursor.Error("bytes after the end");
  return absl::OkStatus();
}

absl::Status CheckAv1Config(absl::string_view config) {
  Cursor cursor("av1C", config);
  ASSIGN_OR_RETURN(const uint32_t version, cursor.Byte());
  if (version != 0x81) return cursor.Error("marker and version are not 1");
  RETURN_IF_ERROR(cursor.Take(2).status());
  ASSIGN_OR_RETURN(const uint32_t delay, cursor.Byte());
  if ((delay & 0xe0) != 0) return cursor.Error("reserved bits are set");
  bool sequence_header = false;
  size_t offset = 4;
  while (offset < config.size()) {
    const auto obu = ParseAv1Obu(config.substr(offset));
    if (!obu.ok()) {
      return Bad(
          absl::StrCat("av1C byte ", offset, ": ", obu.status().message()));
    }
    if (obu->type == kAv1TemporalDelimiter) {
      return Bad(absl::StrCat("av1C byte ", offset, ": a temporal delimiter"));
    }
    if (obu->type == kAv1SequenceHeader && !obu->content.empty()) {
      sequence_header = true;
    }
    offset += obu->total_bytes;
  }
  if (!sequence_header) return Bad("av1C has no sequence header");
  return absl::OkStatus();
}

absl::Status CheckOpusHead(absl::string_view config, uint32_t sample_rate_hz,
                           uint32_t channels) {
  if (config.size() < kOpusHead_bytes ||
      !absl::StartsWith(config, "OpusHead")) {
    return Bad("the parameters are not a whole OpusHead");
  }
  const auto at = [&](size_t i) -> uint32_t {
    return static_cast<uint8_t>(config[i]);
  };
  // The lower four bits are a compatible revision (RFC 7845, 5.1).
  if (at(8) == 0 || at(8) > 15) return Bad("OpusHead: an unknown version");
  const uint32_t head_channels = at(9);
  if (head_channels < 1 || head_channels > kMaxOpusChannels) {
    return Bad("OpusHead: there must be 1 to 8 channels");
  }
  if (head_channels != channels) {
    return Bad("OpusHead: the track has another number of channels");
  }
  if (48'000 % sample_rate_hz != 0 || sample_rate_hz % 4'000 != 0) {
    return Bad("Opus has no such sample rate");
  }
  const uint32_t family = at(18);
  if (family == 0) {
    if (head_channels > 2) return Bad("OpusHead: family 0 has 1 or 2 channels");
    if (config.size() != kOpusHead_bytes) {
      return Bad("OpusHead: bytes after the end");
    }
    return absl::OkStatus();
  }
  if (config.size() != kOpusHead_bytes + 2 + head_channels) {
    return Bad("OpusHead: the mapping table has the wrong size");
  }
  const uint32_t streams = at(19);
  const uint32_t coupled = at(20);
  if (streams < 1 || coupled > streams || streams + coupled > 255) {
    return Bad("OpusHead: impossible numbers of streams");
  }
  for (uint32_t i = 0; i < head_channels; ++i) {
    const uint32_t index = at(kOpusHead_bytes + 2 + i);
    if (index != 255 && index >= streams + coupled) {
      return Bad("OpusHead: a channel maps to a stream that is not there");
    }
  }
  return absl::OkStatus();
}

int OpusStreamCount(absl::string_view config) {
  if (config.size() <= kOpusHead_bytes) return 1;
  return static_cast<uint8_t>(config[kOpusHead_bytes]);
}

absl::Status CheckAudioSpecificConfig(absl::string_view config,
                                      uint32_t sample_rate_hz,
                                      uint32_t channels) {
  ASSIGN_OR_RETURN(const AacFormat format, ParseAudioSpecificConfig(config));
  if (!IsAacObjectType(format.object_type)) {
    return Bad(absl::StrCat("AudioSpecificConfig: object type ",
                            format.object_type, " is not AAC"));
  }
  if (format.sample_rate_hz == 0) {
    return Bad("AudioSpecificConfig: a reserved frequency");
  }
  // Band replication, which need not be signalled, doubles the rate, and
  // parametric stereo the channels.
  if (sample_rate_hz != format.sample_rate_hz &&
      sample_rate_hz != 2 * format.sample_rate_hz &&
      sample_rate_hz != format.extension_rate_hz) {
    return Bad("AudioSpecificConfig: the track has another sample rate");
  }
  const uint32_t config_channels = AacChannels(format.channel_configuration);
  if (config_channels == 0 && format.channel_configuration != 0) {
    return Bad("AudioSpecificConfig: a reserved channel configuration");
  }
  // Configuration 0: the channels are listed further inside.
  const bool agrees = format.channel_configuration == 0 ||
                      channels == config_channels ||
                      (config_channels == 1 && channels == 2);
  if (!agrees) {
    return Bad("AudioSpecificConfig: the track has another number of channels");
  }
  return absl::OkStatus();
}

}  // namespace diptych::media
