#include "tools/gateway/av1_stream.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/bit_reader.h"
#include "archiver/media/codec_payload.h"

namespace diptych::gateway {
namespace {

constexpr int kHasSize = 0x02;
constexpr int kHasExtension = 0x04;
constexpr uint32_t kSelectFromFrame = 2;

void AppendLeb128(uint64_t value, std::string* out) {
  do {
    const auto low = static_cast<uint8_t>(value & 0x7f);
    value >>= 7;
    out->push_back(static_cast<char>(low | (value != 0 ? 0x80 : 0)));
  } while (value != 0);
}

// Only a packet's last OBU may do without its size.
absl::StatusOr<std::string> WithSize(absl::string_view last_obu) {
  const auto header = static_cast<uint8_t>(last_obu[0]);
  const size_t header_bytes = (header & kHasExtension) != 0 ? 2 : 1;
  if (last_obu.size() < header_bytes) {
    return absl::InvalidArgumentError("an OBU's header is cut");
  }
  std::string sized(last_obu.substr(0, header_bytes));
  sized[0] = static_cast<char>(header | kHasSize);
  AppendLeb128(last_obu.size() - header_bytes, &sized);
  absl::StrAppend(&sized, last_obu.substr(header_bytes));
  return sized;
}

// uvlc() of AV1.
void SkipUvlc(media::BitReader* bits) {
  int zeros = 0;
  while (bits->ok() && bits->Bit() == 0) ++zeros;
  if (zeros < 32) bits->Skip(zeros);
}

struct Av1Sequence {
  uint32_t profile = 0;
  uint32_t level = 0;
  uint32_t tier = 0;
  bool high_bit_depth = false;
  bool twelve_bit = false;
  bool monochrome = false;
  uint32_t subsampling_x = 1;
  uint32_t subsampling_y = 1;
  uint32_t sample_position = 0;
};

void ReadOperatingPoints(media::BitReader* bits, Av1Sequence* sequence) {
  bool decoder_model = false;
  uint32_t delay_bits = 0;
  if (bits->Bit() != 0) {  // timing_info_present_flag
    bits->Skip(64);
    if (bits->Bit() != 0) SkipUvlc(bits);
    decoder_model = bits->Bit() != 0;
    if (decoder_model) {
      delay_bits = bits->Bits(5) + 1;
      bits->Skip(32 + 5 + 5);
    }
  }
  const bool display_delay = bits->Bit() != 0;
  const uint32_t count = bits->Bits(5) + 1;
  for (uint32_t i = 0; i < count; ++i) {
    bits->Skip(12);
    const uint32_t level = bits->Bits(5);
    const uint32_t tier = level > 7 ? bits->Bit() : 0;
    if (i == 0) {
      sequence->level = level;
      sequence->tier = tier;
    }
    if (decoder_model && bits->Bit() != 0) bits->Skip(2 * delay_bits + 1);
    if (display_delay && bits->Bit() != 0) bits->Skip(4);
  }
}

// The coding tools between the operating points and the colours.
void SkipCodingTools(bool reduced, media::BitReader* bits) {
  const uint32_t width_bits = bits->Bits(4) + 1;
  const uint32_t height_bits = bits->Bits(4) + 1;
  bits->Skip(width_bits + height_bits);
  if (!reduced && bits->Bit() != 0) bits->Skip(4 + 3);
  bits->Skip(3);
  if (reduced) return;
  bits->Skip(4);
  const bool order_hints = bits->Bit() != 0;
  if (order_hints) bits->Skip(2);
  const uint32_t screen_tools =
      bits->Bit() != 0 ? kSelectFromFrame : bits->Bit();
  if (screen_tools > 0 && bits->Bit() == 0) bits->Skip(1);
  if (order_hints) bits->Skip(3);
}

void ReadColour(media::BitReader* bits, Av1Sequence* sequence) {
  constexpr uint32_t kBt709 = 1;
  constexpr uint32_t kSrgb = 13;
  constexpr uint32_t kIdentity = 0;
  sequence->high_bit_depth = bits->Bit() != 0;
  if (sequence->profile == 2 && sequence->high_bit_depth) {
    sequence->twelve_bit = bits->Bit() != 0;
  }
  sequence->monochrome = sequence->profile != 1 && bits->Bit() != 0;
  uint32_t primaries = 2;
  uint32_t transfer = 2;
  uint32_t matrix = 2;
  if (bits->Bit() != 0) {
    primaries = bits->Bits(8);
    transfer = bits->Bits(8);
    matrix = bits->Bits(8);
  }
  if (sequence->monochrome) return;
  if (primaries == kBt709 && transfer == kSrgb && matrix == kIdentity) {
    sequence->subsampling_x = sequence->subsampling_y = 0;
    return;
  }
  bits->Skip(1);  // color_range
  if (sequence->profile == 1) {
    sequence->subsampling_x = sequence->subsampling_y = 0;
  } else if (sequence->profile == 2) {
    sequence->subsampling_x = sequence->twelve_bit ? bits->Bit() : 1;
    sequence->subsampling_y =
        sequence->twelve_bit && sequence->subsampling_x != 0 ? bits->Bit() : 0;
  }
  if (sequence->subsampling_x != 0 && sequence->subsampling_y != 0) {
    sequence->sample_position = bits->Bits(2);
  }
}

absl::StatusOr<Av1Sequence> ParseSequence(absl::string_view content) {
  media::BitReader bits(content);
  Av1Sequence sequence;
  sequence.profile = bits.Bits(3);
  bits.Skip(1);
  const bool reduced = bits.Bit() != 0;
  if (reduced) {
    sequence.level = bits.Bits(5);
  } else {
    ReadOperatingPoints(&bits, &sequence);
  }
  SkipCodingTools(reduced, &bits);
  bits.Skip(3);  // superres, cdef, restoration
  ReadColour(&bits, &sequence);
  if (!bits.ok() || sequence.profile > 2) {
    return absl::InvalidArgumentError("a broken AV1 sequence header");
  }
  return sequence;
}

}  // namespace

absl::StatusOr<std::string> CanonicalAv1(absl::string_view temporal_unit) {
  std::string canonical;
  canonical.reserve(temporal_unit.size() + 4);
  while (!temporal_unit.empty()) {
    const auto header = static_cast<uint8_t>(temporal_unit[0]);
    std::string sized;
    absl::string_view unit = temporal_unit;
    if ((header & kHasSize) == 0) {
      ASSIGN_OR_RETURN(sized, WithSize(temporal_unit));
      unit = sized;
      temporal_unit = absl::string_view();
    }
    ASSIGN_OR_RETURN(const media::Av1Obu obu, media::ParseAv1Obu(unit));
    if (obu.type != media::kAv1TemporalDelimiter) {
      absl::StrAppend(&canonical, unit.substr(0, obu.total_bytes));
    }
    if (!temporal_unit.empty()) temporal_unit.remove_prefix(obu.total_bytes);
  }
  return canonical;
}

std::optional<std::string> FindAv1SequenceHeader(absl::string_view obus) {
  while (!obus.empty()) {
    const auto obu = media::ParseAv1Obu(obus);
    if (!obu.ok()) return std::nullopt;
    if (obu->type == media::kAv1SequenceHeader) {
      return std::string(obus.substr(0, obu->total_bytes));
    }
    obus.remove_prefix(obu->total_bytes);
  }
  return std::nullopt;
}

absl::StatusOr<std::string> BuildAv1Config(absl::string_view sequence_header) {
  ASSIGN_OR_RETURN(const media::Av1Obu obu,
                   media::ParseAv1Obu(sequence_header));
  ASSIGN_OR_RETURN(const Av1Sequence sequence, ParseSequence(obu.content));
  std::string config("\x81", 1);
  config.push_back(static_cast<char>(sequence.profile << 5 | sequence.level));
  config.push_back(static_cast<char>(
      sequence.tier << 7 | (sequence.high_bit_depth ? 0x40 : 0) |
      (sequence.twelve_bit ? 0x20 : 0) | (sequence.monochrome ? 0x10 : 0) |
      sequence.subsampling_x << 3 | sequence.subsampling_y << 2 |
      sequence.sample_position));
  config.push_back('\0');
  absl::StrAppend(&config, sequence_header);
  return config;
}

}  // namespace diptych::gateway
