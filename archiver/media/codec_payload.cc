#include "archiver/media/codec_payload.h"

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"

namespace diptych::media {
namespace {

constexpr size_t kMaxOpusFrame_bytes = 1275;
// 120 ms in units of 2.5 ms.
constexpr int kMaxOpusPacket_units = 48;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

uint8_t At(absl::string_view bytes, size_t index) {
  return static_cast<uint8_t>(bytes[index]);
}

// How long one frame of an Opus packet is, in units of 2.5 ms (RFC 6716, 3.1).
int OpusFrameUnits(uint8_t toc) {
  const int config = toc >> 3;
  if (config < 12) {
    constexpr int kSilk[] = {4, 8, 16, 24};
    return kSilk[config % 4];
  }
  if (config < 16) return config % 2 == 0 ? 4 : 8;
  constexpr int kCelt[] = {1, 2, 4, 8};
  return kCelt[config % 4];
}

// Takes a frame length (RFC 6716, 3.2.1) off the front of `bytes`.
absl::StatusOr<size_t> TakeOpusLength(absl::string_view* bytes) {
  if (bytes->empty()) return Bad("an Opus frame's length is missing");
  size_t length = At(*bytes, 0);
  bytes->remove_prefix(1);
  if (length < 252) return length;
  if (bytes->empty()) return Bad("an Opus frame's length is cut");
  length += 4 * size_t{At(*bytes, 0)};
  bytes->remove_prefix(1);
  return length;
}

// Takes `length` bytes of frames off the front of `bytes`.
absl::Status TakeOpusFrame(size_t length, absl::string_view* bytes) {
  if (length > kMaxOpusFrame_bytes) return Bad("an Opus frame over 1275 bytes");
  if (length > bytes->size()) return Bad("an Opus frame ends after its packet");
  bytes->remove_prefix(length);
  return absl::OkStatus();
}

// `count` frames of one size: that of the field in front in a self-delimiting
// packet, otherwise what is left divided.
absl::Status TakeEqualOpusFrames(int count, bool self_delimited,
                                 absl::string_view* bytes) {
  size_t length = 0;
  if (self_delimited) {
    ASSIGN_OR_RETURN(length, TakeOpusLength(bytes));
  } else {
    if (bytes->size() % count != 0) return Bad("Opus frames of unequal size");
    length = bytes->size() / count;
  }
  for (int i = 0; i < count; ++i) {
    RETURN_IF_ERROR(TakeOpusFrame(length, bytes));
  }
  return absl::OkStatus();
}

// `count` frames whose lengths are listed in front; the last one's only in a
// self-delimiting packet. `padding` bytes at the end are no frames.
absl::Status TakeListedOpusFrames(int count, bool self_delimited,
                                  size_t padding, absl::string_view* bytes) {
  size_t lengths[kMaxOpusPacket_units] = {};
  const int listed = self_delimited ? count : count - 1;
  for (int i = 0; i < listed; ++i) {
    ASSIGN_OR_RETURN(lengths[i], TakeOpusLength(bytes));
  }
  for (int i = 0; i < listed; ++i) {
    RETURN_IF_ERROR(TakeOpusFrame(lengths[i], bytes));
  }
  if (self_delimited) return absl::OkStatus();
  if (padding > bytes->size()) return Bad("Opus padding over frames");
  absl::string_view last = bytes->substr(0, bytes->size() - padding);
  const size_t length = last.size();
  RETURN_IF_ERROR(TakeOpusFrame(length, &last));
  bytes->remove_prefix(length);
  return absl::OkStatus();
}

// A packet whose second byte says how many frames there are.
absl::Status TakeCountedOpusFrames(int frame_units, bool self_delimited,
                                   absl::string_view* bytes) {
  if (bytes->empty()) return Bad("an Opus packet without its frame count");
  const uint8_t header = At(*bytes, 0);
  bytes->remove_prefix(1);
  const int count = header & 0x3f;
  if (count < 1 || count * frame_units > kMaxOpusPacket_units) {
    return Bad("an Opus packet of no frames, or of over 120 ms");
  }
  size_t padding = 0;
  if ((header & 0x40) != 0) {
    uint8_t part = 0;
    do {
      if (bytes->empty()) return Bad("an Opus packet's padding is cut");
      part = At(*bytes, 0);
      bytes->remove_prefix(1);
      padding += part == 255 ? 254 : part;
    } while (part == 255);
  }
  if (padding > bytes->size()) return Bad("Opus padding over the packet's end");
  if ((header & 0x80) != 0) {
    RETURN_IF_ERROR(
        TakeListedOpusFrames(count, self_delimited, padding, bytes));
  } else if (self_delimited) {
    RETURN_IF_ERROR(TakeEqualOpusFrames(count, true, bytes));
  } else {
    absl::string_view frames = bytes->substr(0, bytes->size() - padding);
    RETURN_IF_ERROR(TakeEqualOpusFrames(count, false, &frames));
    bytes->remove_prefix(bytes->size() - padding);
  }
  if (padding > bytes->size()) return Bad("Opus padding over frames");
  bytes->remove_prefix(padding);
  return absl::OkStatus();
}

// Takes one stream's packet off the front of `bytes`; without delimiters of its
// own it is all of them.
absl::Status TakeOpusPacket(bool self_delimited, absl::string_view* bytes) {
  if (bytes->empty()) return Bad("an Opus stream is missing from its packet");
  const uint8_t toc = At(*bytes, 0);
  bytes->remove_prefix(1);
  switch (toc & 3) {
    case 0:
      return TakeEqualOpusFrames(1, self_delimited, bytes);
    case 1:
      return TakeEqualOpusFrames(2, self_delimited, bytes);
    case 2:
      return TakeListedOpusFrames(2, self_delimited, 0, bytes);
    default:
      return TakeCountedOpusFrames(OpusFrameUnits(toc), self_delimited, bytes);
  }
}

}  // namespace

absl::Status CheckNalUnits(absl::string_view payload, size_t header_bytes) {
  size_t offset = 0;
  while (offset < payload.size()) {
    if (payload.size() - offset < 4) {
      return Bad(absl::StrCat("byte ", offset, ": a NAL unit's length is cut"));
    }
    const uint32_t length = uint32_t{At(payload, offset)} << 24 |
                            uint32_t{At(payload, offset + 1)} << 16 |
                            uint32_t{At(payload, offset + 2)} << 8 |
                            At(payload, offset + 3);
    if (length < header_bytes) {
      return Bad(absl::StrCat("byte ", offset, ": a NAL unit without header"));
    }
    if (length > payload.size() - offset - 4) {
      return Bad(absl::StrCat("byte ", offset, ": a NAL unit of ", length,
                              " bytes ends after its packet"));
    }
    if ((At(payload, offset + 4) & 0x80) != 0) {
      return Bad(absl::StrCat("byte ", offset + 4,
                              ": a NAL unit's forbidden bit is set"));
    }
    offset += 4 + size_t{length};
  }
  return absl::OkStatus();
}

absl::StatusOr<Av1Obu> ParseAv1Obu(absl::string_view bytes) {
  if (bytes.empty()) return Bad("an OBU is missing");
  const uint8_t header = At(bytes, 0);
  if ((header & 0x81) != 0) return Bad("an OBU's forbidden bits are set");
  if ((header & 0x02) == 0) return Bad("an OBU without its size");
  size_t offset = 1;
  if ((header & 0x04) != 0) ++offset;
  uint64_t size = 0;
  for (int i = 0;; ++i) {
    if (i == 8) return Bad("an OBU's size takes over 8 bytes");
    if (offset >= bytes.size()) return Bad("an OBU's size is cut");
    const uint8_t byte = At(bytes, offset++);
    size |= uint64_t{byte & 0x7fu} << (7 * i);
    if ((byte & 0x80) == 0) break;
  }
  if (size > bytes.size() - offset) return Bad("an OBU ends after its packet");
  Av1Obu obu;
  obu.type = (header >> 3) & 0xf;
  obu.content = bytes.substr(offset, size);
  obu.total_bytes = offset + size;
  return obu;
}

absl::Status CheckAv1Payload(absl::string_view payload) {
  size_t offset = 0;
  while (offset < payload.size()) {
    const auto obu = ParseAv1Obu(payload.substr(offset));
    if (!obu.ok()) {
      return Bad(absl::StrCat("byte ", offset, ": ", obu.status().message()));
    }
    if (obu->type == kAv1TemporalDelimiter) {
      return Bad(absl::StrCat("byte ", offset, ": a temporal delimiter"));
    }
    if (obu->type == kAv1TileList) {
      return Bad(absl::StrCat("byte ", offset, ": a tile list"));
    }
    offset += obu->total_bytes;
  }
  return absl::OkStatus();
}

absl::Status CheckVp8Payload(absl::string_view payload) {
  if (payload.size() < 3) return Bad("a VP8 frame shorter than its header");
  const bool key_frame = (At(payload, 0) & 1) == 0;
  if (!key_frame) return absl::OkStatus();
  if (payload.size() < 10 || At(payload, 3) != 0x9d || At(payload, 4) != 0x01 ||
      At(payload, 5) != 0x2a) {
    return Bad("a VP8 key frame without its start code");
  }
  return absl::OkStatus();
}

absl::Status CheckVp9Payload(absl::string_view payload) {
  if (payload.empty() || At(payload, 0) >> 6 != 2) {
    return Bad("a VP9 frame without its marker");
  }
  return absl::OkStatus();
}

absl::Status CheckOpusPayload(absl::string_view payload, int streams) {
  for (int i = 1; i < streams; ++i) {
    RETURN_IF_ERROR(TakeOpusPacket(/*self_delimited=*/true, &payload));
  }
  RETURN_IF_ERROR(TakeOpusPacket(/*self_delimited=*/false, &payload));
  if (!payload.empty()) return Bad("bytes after the Opus packet's end");
  return absl::OkStatus();
}

absl::Status CheckAacPayload(absl::string_view payload) {
  if (payload.empty()) return Bad("an empty AAC frame");
  if (payload.size() >= 7 && At(payload, 0) == 0xff &&
      (At(payload, 1) & 0xf6) == 0xf0) {
    return Bad("AAC with an ADTS header; raw frames are wanted");
  }
  return absl::OkStatus();
}

}  // namespace diptych::media
