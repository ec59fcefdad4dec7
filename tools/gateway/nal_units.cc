#include "tools/gateway/nal_units.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/bit_reader.h"

namespace diptych::gateway {
namespace {

constexpr uint32_t kAvcIdr = 5;
constexpr uint32_t kAvcSps = 7;
constexpr uint32_t kAvcPps = 8;
constexpr uint32_t kHevcFirstReset = 16;
constexpr uint32_t kHevcLastReset = 20;
constexpr uint32_t kHevcVps = 32;
constexpr uint32_t kHevcSps = 33;
constexpr uint32_t kHevcPps = 34;

uint8_t At(absl::string_view bytes, size_t index) {
  return static_cast<uint8_t>(bytes[index]);
}

uint32_t TypeOf(NalCodec codec, absl::string_view nal_unit) {
  if (nal_unit.empty()) return 0;
  return codec == NalCodec::kH264 ? At(nal_unit, 0) & 0x1f
                                  : (At(nal_unit, 0) >> 1) & 0x3f;
}

void AppendNumber(uint32_t value, int bytes, std::string* out) {
  for (int i = bytes - 1; i >= 0; --i) {
    out->push_back(static_cast<char>(value >> (8 * i)));
  }
}

// Without the emulation prevention bytes (00 00 03 becomes 00 00).
std::string Unescape(absl::string_view nal_unit) {
  std::string plain;
  plain.reserve(nal_unit.size());
  int zeros = 0;
  for (const char c : nal_unit) {
    if (zeros >= 2 && c == 3) {
      zeros = 0;
      continue;
    }
    zeros = c == 0 ? zeros + 1 : 0;
    plain.push_back(c);
  }
  return plain;
}

absl::string_view TrimZeros(absl::string_view bytes) {
  while (!bytes.empty() && bytes.back() == 0) bytes.remove_suffix(1);
  return bytes;
}

// What a configuration repeats of a sequence parameter set.
struct SequenceInfo {
  uint32_t id = 0;
  uint32_t chroma_format = 1;
  uint32_t luma_depth_minus8 = 0;
  uint32_t chroma_depth_minus8 = 0;
  // H.265 only.
  uint32_t temporal_layers = 1;
  bool temporal_nesting = false;
  std::string profile_tier_level;
};

bool AvcProfileHasExtension(uint32_t profile) {
  return profile != 66 && profile != 77 && profile != 88;
}

std::optional<SequenceInfo> ParseAvcSps(absl::string_view nal_unit) {
  const std::string plain = Unescape(nal_unit);
  media::BitReader bits(plain);
  bits.Skip(8);
  const uint32_t profile = bits.Bits(8);
  bits.Skip(16);
  SequenceInfo info;
  info.id = bits.ExpGolomb();
  if (AvcProfileHasExtension(profile)) {
    info.chroma_format = bits.ExpGolomb();
    if (info.chroma_format == 3) bits.Skip(1);
    info.luma_depth_minus8 = bits.ExpGolomb();
    info.chroma_depth_minus8 = bits.ExpGolomb();
  }
  if (!bits.ok() || info.id > 31 || info.chroma_format > 3 ||
      info.luma_depth_minus8 > 7 || info.chroma_depth_minus8 > 7) {
    return std::nullopt;
  }
  return info;
}

std::optional<SequenceInfo> ParseHevcSps(absl::string_view nal_unit) {
  constexpr size_t kProfileTierLevel_bytes = 12;
  const std::string plain = Unescape(nal_unit);
  if (plain.size() < 3 + kProfileTierLevel_bytes) return std::nullopt;
  media::BitReader bits(plain);
  bits.Skip(16 + 4);
  SequenceInfo info;
  const uint32_t sub_layers_minus1 = bits.Bits(3);
  info.temporal_layers = sub_layers_minus1 + 1;
  info.temporal_nesting = bits.Bit() != 0;
  info.profile_tier_level = plain.substr(3, kProfileTierLevel_bytes);
  bits.Skip(8 * kProfileTierLevel_bytes);
  bool profile_present[8] = {};
  bool level_present[8] = {};
  for (uint32_t i = 0; i < sub_layers_minus1; ++i) {
    profile_present[i] = bits.Bit() != 0;
    level_present[i] = bits.Bit() != 0;
  }
  if (sub_layers_minus1 > 0) bits.Skip(2 * (8 - sub_layers_minus1));
  for (uint32_t i = 0; i < sub_layers_minus1; ++i) {
    if (profile_present[i]) bits.Skip(88);
    if (level_present[i]) bits.Skip(8);
  }
  info.id = bits.ExpGolomb();
  info.chroma_format = bits.ExpGolomb();
  if (info.chroma_format == 3) bits.Skip(1);
  bits.ExpGolomb();
  bits.ExpGolomb();
  if (bits.Bit() != 0) {
    for (int i = 0; i < 4; ++i) bits.ExpGolomb();
  }
  info.luma_depth_minus8 = bits.ExpGolomb();
  info.chroma_depth_minus8 = bits.ExpGolomb();
  if (!bits.ok() || info.id > 15 || info.chroma_format > 3 ||
      info.luma_depth_minus8 > 7 || info.chroma_depth_minus8 > 7) {
    return std::nullopt;
  }
  return info;
}

std::optional<SequenceInfo> ParseSps(NalCodec codec, absl::string_view nal) {
  return codec == NalCodec::kH264 ? ParseAvcSps(nal) : ParseHevcSps(nal);
}

// The id under which a parameter set replaces an earlier one; nullopt if
// `nal_unit` is none, or is broken.
std::optional<uint32_t> ParameterSetId(NalCodec codec,
                                       absl::string_view nal_unit) {
  const uint32_t type = TypeOf(codec, nal_unit);
  const bool h264 = codec == NalCodec::kH264;
  if (type == (h264 ? kAvcSps : kHevcSps)) {
    const auto info = ParseSps(codec, nal_unit);
    if (!info.has_value()) return std::nullopt;
    return info->id;
  }
  const std::string plain = Unescape(nal_unit.substr(0, 16));
  media::BitReader bits(plain);
  bits.Skip(h264 ? 8 : 16);
  uint32_t id = 0;
  if (type == (h264 ? kAvcPps : kHevcPps)) {
    id = bits.ExpGolomb();
  } else if (!h264 && type == kHevcVps) {
    id = bits.Bits(4);
  } else {
    return std::nullopt;
  }
  if (!bits.ok() || id > 255) return std::nullopt;
  return id;
}

// Takes `count` units behind 16-bit lengths off the front of `rest`.
absl::Status TakeSets(size_t count, absl::string_view* rest,
                      std::vector<std::string>* sets) {
  for (size_t i = 0; i < count; ++i) {
    if (rest->size() < 2) return absl::InvalidArgumentError("it is cut");
    const size_t length = size_t{At(*rest, 0)} << 8 | At(*rest, 1);
    rest->remove_prefix(2);
    if (length > rest->size()) return absl::InvalidArgumentError("it is cut");
    sets->emplace_back(rest->substr(0, length));
    rest->remove_prefix(length);
  }
  return absl::OkStatus();
}

absl::StatusOr<NalConfig> ParseAvcConfig(absl::string_view config) {
  if (config.size() < 7) return absl::InvalidArgumentError("it is cut");
  NalConfig parsed;
  parsed.length_bytes = (At(config, 4) & 3) + 1;
  const size_t sps_count = At(config, 5) & 0x1f;
  absl::string_view rest = config.substr(6);
  RETURN_IF_ERROR(TakeSets(sps_count, &rest, &parsed.parameter_sets));
  if (rest.empty()) return absl::InvalidArgumentError("it is cut");
  const size_t pps_count = At(rest, 0);
  rest.remove_prefix(1);
  RETURN_IF_ERROR(TakeSets(pps_count, &rest, &parsed.parameter_sets));
  return parsed;
}

absl::StatusOr<NalConfig> ParseHevcConfig(absl::string_view config) {
  if (config.size() < 23) return absl::InvalidArgumentError("it is cut");
  NalConfig parsed;
  parsed.length_bytes = (At(config, 21) & 3) + 1;
  const size_t arrays = At(config, 22);
  absl::string_view rest = config.substr(23);
  for (size_t i = 0; i < arrays; ++i) {
    if (rest.size() < 3) return absl::InvalidArgumentError("it is cut");
    const size_t count = size_t{At(rest, 1)} << 8 | At(rest, 2);
    rest.remove_prefix(3);
    RETURN_IF_ERROR(TakeSets(count, &rest, &parsed.parameter_sets));
  }
  return parsed;
}

// A count of 16 bits, then each set behind its 16-bit length.
absl::Status AppendSets(const std::vector<absl::string_view>& sets,
                        std::string* config) {
  for (const absl::string_view set : sets) {
    if (set.size() > 0xffff) {
      return absl::InvalidArgumentError("a parameter set of over 65,535 bytes");
    }
    AppendNumber(static_cast<uint32_t>(set.size()), 2, config);
    absl::StrAppend(config, set);
  }
  return absl::OkStatus();
}

}  // namespace

bool StartsWithStartCode(absl::string_view bytes) {
  if (bytes.size() < 4 || bytes[0] != 0 || bytes[1] != 0) return false;
  return bytes[2] == 1 || (bytes[2] == 0 && bytes[3] == 1);
}

std::vector<absl::string_view> SplitAnnexB(absl::string_view bytes) {
  const absl::string_view start_code("\0\0\1", 3);
  std::vector<absl::string_view> units;
  size_t begin = bytes.find(start_code);
  while (begin != absl::string_view::npos) {
    begin += start_code.size();
    const size_t next = bytes.find(start_code, begin);
    const size_t end = next == absl::string_view::npos ? bytes.size() : next;
    const absl::string_view unit = TrimZeros(bytes.substr(begin, end - begin));
    if (!unit.empty()) units.push_back(unit);
    begin = next;
  }
  return units;
}

absl::StatusOr<std::vector<absl::string_view>> SplitLengthPrefixed(
    absl::string_view bytes, int length_bytes) {
  std::vector<absl::string_view> units;
  while (!bytes.empty()) {
    if (bytes.size() < static_cast<size_t>(length_bytes)) {
      return absl::InvalidArgumentError("a NAL unit's length is cut");
    }
    size_t length = 0;
    for (int i = 0; i < length_bytes; ++i) length = length << 8 | At(bytes, i);
    bytes.remove_prefix(length_bytes);
    if (length > bytes.size()) {
      return absl::InvalidArgumentError(absl::StrCat("a NAL unit of ", length,
                                                     " bytes ends after its "
                                                     "packet"));
    }
    units.push_back(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  return units;
}

std::string JoinLengthPrefixed(
    const std::vector<absl::string_view>& nal_units) {
  size_t size = 0;
  for (const absl::string_view unit : nal_units) size += 4 + unit.size();
  std::string joined;
  joined.reserve(size);
  for (const absl::string_view unit : nal_units) {
    AppendNumber(static_cast<uint32_t>(unit.size()), 4, &joined);
    joined.append(unit.data(), unit.size());
  }
  return joined;
}

bool StartsNewSequence(NalCodec codec, absl::string_view nal_unit) {
  const uint32_t type = TypeOf(codec, nal_unit);
  if (codec == NalCodec::kH264) return type == kAvcIdr;
  return type >= kHevcFirstReset && type <= kHevcLastReset;
}

bool ParameterSets::Add(absl::string_view nal_unit) {
  const absl::string_view trimmed = TrimZeros(nal_unit);
  const auto id = ParameterSetId(codec_, trimmed);
  if (!id.has_value()) return false;
  const Key key(TypeOf(codec_, trimmed), *id);
  const auto found = sets_.find(key);
  if (found != sets_.end()) {
    if (found->second == trimmed) return false;
    found->second = std::string(trimmed);
    return true;
  }
  if (sets_.size() >= limits::kMaxParameterSets) return false;
  sets_.emplace(key, std::string(trimmed));
  return true;
}

std::vector<absl::string_view> ParameterSets::OfType(uint32_t type) const {
  std::vector<absl::string_view> found;
  for (const auto& [key, set] : sets_) {
    if (key.first == type) found.push_back(set);
  }
  return found;
}

bool ParameterSets::complete() const {
  if (codec_ == NalCodec::kH264) {
    return !OfType(kAvcSps).empty() && !OfType(kAvcPps).empty();
  }
  return !OfType(kHevcVps).empty() && !OfType(kHevcSps).empty() &&
         !OfType(kHevcPps).empty();
}

absl::StatusOr<std::string> ParameterSets::BuildConfig() const {
  if (!complete()) {
    return absl::FailedPreconditionError("parameter sets are missing");
  }
  return codec_ == NalCodec::kH264 ? BuildAvcConfig() : BuildHevcConfig();
}

absl::StatusOr<std::string> ParameterSets::BuildAvcConfig() const {
  const auto sps = OfType(kAvcSps);
  const auto pps = OfType(kAvcPps);
  if (sps.size() > 31 || pps.size() > 255) {
    return absl::InvalidArgumentError("more parameter sets than avcC can hold");
  }
  const auto info = ParseAvcSps(sps[0]);
  if (!info.has_value() || sps[0].size() < 4) {
    return absl::InvalidArgumentError("a broken sequence parameter set");
  }
  std::string config("\x01", 1);
  absl::StrAppend(&config, sps[0].substr(1, 3));
  config.push_back('\xff');
  config.push_back(static_cast<char>(0xe0 | sps.size()));
  RETURN_IF_ERROR(AppendSets(sps, &config));
  config.push_back(static_cast<char>(pps.size()));
  RETURN_IF_ERROR(AppendSets(pps, &config));
  if (AvcProfileHasExtension(At(sps[0], 1))) {
    config.push_back(static_cast<char>(0xfc | info->chroma_format));
    config.push_back(static_cast<char>(0xf8 | info->luma_depth_minus8));
    config.push_back(static_cast<char>(0xf8 | info->chroma_depth_minus8));
    config.push_back('\0');
  }
  return config;
}

absl::StatusOr<std::string> ParameterSets::BuildHevcConfig() const {
  const auto info = ParseHevcSps(OfType(kHevcSps)[0]);
  if (!info.has_value()) {
    return absl::InvalidArgumentError("a broken sequence parameter set");
  }
  std::string config("\x01", 1);
  config += info->profile_tier_level;
  // No spatial segmentation, parallelism unknown.
  AppendNumber(0xf000, 2, &config);
  config.push_back('\xfc');
  config.push_back(static_cast<char>(0xfc | info->chroma_format));
  config.push_back(static_cast<char>(0xf8 | info->luma_depth_minus8));
  config.push_back(static_cast<char>(0xf8 | info->chroma_depth_minus8));
  AppendNumber(0, 2, &config);
  config.push_back(static_cast<char>(info->temporal_layers << 3 |
                                     (info->temporal_nesting ? 4 : 0) | 3));
  config.push_back('\x03');
  for (const uint32_t type : {kHevcVps, kHevcSps, kHevcPps}) {
    const auto sets = OfType(type);
    config.push_back(static_cast<char>(type));
    AppendNumber(static_cast<uint32_t>(sets.size()), 2, &config);
    RETURN_IF_ERROR(AppendSets(sets, &config));
  }
  return config;
}

absl::StatusOr<NalConfig> ParseNalConfig(NalCodec codec,
                                         absl::string_view config) {
  auto parsed = codec == NalCodec::kH264 ? ParseAvcConfig(config)
                                         : ParseHevcConfig(config);
  if (parsed.ok() && parsed->length_bytes == 3) {
    return absl::InvalidArgumentError("NAL unit lengths of 3 bytes");
  }
  return parsed;
}

}  // namespace diptych::gateway
