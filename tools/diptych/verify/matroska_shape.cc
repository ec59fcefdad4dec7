#include "tools/diptych/verify/matroska_shape.h"

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"

namespace diptych::verify {
namespace {

constexpr uint32_t kEbml = 0x1A45DFA3;
constexpr uint32_t kSegment = 0x18538067;
constexpr uint32_t kVoid = 0xEC;
constexpr uint32_t kCrc32 = 0xBF;
constexpr uint32_t kSimpleBlock = 0xA3;
constexpr uint32_t kBlock = 0xA1;
constexpr uint32_t kTimestampScale = 0x2AD7B1;
constexpr uint32_t kFlagLacing = 0x9C;
constexpr uint32_t kFlagDefault = 0x88;
constexpr uint32_t kDisplayUnit = 0x54B2;
constexpr uint32_t kTrackEntry = 0xAE;
constexpr uint32_t kCodecPrivate = 0x63A2;
constexpr uint32_t kCodecDelay = 0x56AA;
constexpr uint32_t kTop = 0;

// What is in what; masters are those that are keys here.
const std::map<uint32_t, std::set<uint32_t>>& Children() {
  static const auto* const children =
      new std::map<uint32_t, std::set<uint32_t>>{
          {kTop, {kEbml, kSegment}},
          {kEbml, {0x4286, 0x42F7, 0x42F2, 0x42F3, 0x4282, 0x4287, 0x4285}},
          // SeekHead, Void, Info, Tracks, Tags, Cluster, Cues.
          {kSegment,
           {0x114D9B74, kVoid, 0x1549A966, 0x1654AE6B, 0x1254C367, 0x1F43B675,
            0x1C53BB6B}},
          {0x114D9B74, {kCrc32, 0x4DBB}},
          {0x4DBB, {0x53AB, 0x53AC}},
          // TimestampScale, MuxingApp, WritingApp, DateUTC, Duration.
          {0x1549A966,
           {kCrc32, kTimestampScale, 0x4D80, 0x5741, 0x4461, 0x4489}},
          {0x1654AE6B, {kCrc32, 0xAE}},
          // TrackNumber, TrackUID, FlagLacing, FlagDefault, Name, Language,
          // CodecID, TrackType, CodecPrivate, CodecDelay, SeekPreRoll, Video,
          // Audio.
          {0xAE,
           {0xD7, 0x73C5, kFlagLacing, kFlagDefault, 0x536E, 0x22B59C, 0x86,
            0x83, 0x63A2, 0x56AA, 0x56BB, 0xE0, 0xE1}},
          // PixelWidth, PixelHeight, DisplayUnit.
          {0xE0, {0xB0, 0xBA, kDisplayUnit}},
          // Channels, SamplingFrequency, BitDepth.
          {0xE1, {0x9F, 0xB5, 0x6264}},
          {0x1254C367, {kCrc32, 0x7373}},
          {0x7373, {0x63C0, 0x67C8}},
          {0x63C0, {0x63C5}},
          {0x67C8, {0x45A3, 0x4487}},
          // Timestamp, SimpleBlock, BlockGroup.
          {0x1F43B675, {kCrc32, 0xE7, kSimpleBlock, 0xA0}},
          // Block, BlockDuration, ReferenceBlock, DiscardPadding.
          {0xA0, {kBlock, 0x9B, 0xFB, 0x75A2}},
          {0x1C53BB6B, {kCrc32, 0xBB}},
          {0xBB, {0xB3, 0xB7}},
          {0xB7, {0xF7, 0xF1, 0xF0}},
      };
  return *children;
}

// What may stand in its parent more than once.
const std::set<uint32_t>& Repeats() {
  // Void, Seek, TrackEntry, Tag, SimpleTag, Cluster, SimpleBlock, BlockGroup,
  // CuePoint, CueTrackPositions.
  static const auto* const repeats =
      new std::set<uint32_t>{kVoid,      0x4DBB,       0xAE, 0x7373, 0x67C8,
                             0x1F43B675, kSimpleBlock, 0xA0, 0xBB,   0xB7};
  return *repeats;
}

// The masters below the segment begin with their CRC-32.
bool HasCrc(uint32_t parent) { return parent == kSegment; }

constexpr size_t kMaxDepth = 6;
// Of everything but blocks and CodecPrivate.
constexpr uint64_t kMaxValue_bytes = 128 << 10;
constexpr size_t kBlockHead_bytes = 12;
// The header that exports have, whole.
constexpr char kEbmlHeader[] =
    "4286810142f7810142f2810442f381084282886d6174726f736b61428781044285"
    "8102";

class Walker {
 public:
  Walker(base::ReadFile* file, const std::string& place)
      : file_(file), place_(place) {}

  absl::Status Walk() {
    ASSIGN_OR_RETURN(const uint64_t size, file_->Size());
    RETURN_IF_ERROR(WalkChildren(kTop, 0, size, 0));
    if (seen_ != 2) return False(0, "is not one header and one segment");
    return absl::OkStatus();
  }

 private:
  struct Element {
    uint32_t id = 0;
    uint64_t body = 0;
    uint64_t end = 0;
  };

  struct Track {
    uint64_t delay_ns = 0;
    // Samples that a decoder drops at the beginning (RFC 7845).
    uint64_t pre_skip = 0;
  };

  absl::Status False(uint64_t at, absl::string_view what) const {
    return base::IntegrityError(
        absl::StrCat(place_, ", byte ", at, ": ", what));
  }

  // Bytes by way of a piece that is read ahead.
  absl::StatusOr<absl::string_view> Bytes(uint64_t at, size_t size) {
    if (at < piece_at_ || at + size > piece_at_ + piece_.size()) {
      piece_at_ = at;
      RETURN_IF_ERROR(
          file_->Read(at, std::max(size, limits::kVerifyRead_bytes), &piece_));
    }
    const absl::string_view found =
        absl::string_view(piece_).substr(at - piece_at_, size);
    if (found.size() != size) return False(at, "the file ends too early");
    return found;
  }

  // An EBML number; with its marker for ids.
  absl::StatusOr<uint64_t> Number(uint64_t* at, bool keep_marker) {
    ASSIGN_OR_RETURN(const absl::string_view first, Bytes(*at, 1));
    const auto lead = static_cast<uint8_t>(first[0]);
    size_t length = 1;
    while (length <= 8 && (lead & (0x100 >> length)) == 0) ++length;
    if (length > (keep_marker ? 4 : 8)) return False(*at, "is no element");
    ASSIGN_OR_RETURN(const absl::string_view bytes, Bytes(*at, length));
    uint64_t value = keep_marker ? lead : lead & ((0x80 >> (length - 1)) - 1);
    uint64_t unknown = keep_marker ? 0 : (0x80 >> (length - 1)) - 1;
    for (size_t i = 1; i < length; ++i) {
      value = value << 8 | static_cast<uint8_t>(bytes[i]);
      unknown = unknown << 8 | 0xff;
    }
    if (!keep_marker && value == unknown) {
      return False(*at, "has an element of unknown size");
    }
    *at += length;
    return value;
  }

  absl::StatusOr<Element> Next(uint64_t at, uint64_t end) {
    const uint64_t begin = at;
    Element element;
    ASSIGN_OR_RETURN(const uint64_t id, Number(&at, true));
    element.id = static_cast<uint32_t>(id);
    ASSIGN_OR_RETURN(const uint64_t size, Number(&at, false));
    if (at > end || size > end - at) {
      return False(begin, "an element reaches beyond what holds it");
    }
    element.body = at;
    element.end = at + size;
    return element;
  }

  absl::Status WalkChildren(uint32_t parent, uint64_t at, uint64_t end,
                            size_t depth) {
    if (depth > kMaxDepth) return False(at, "elements lie too deep");
    const std::set<uint32_t>& allowed = Children().at(parent);
    std::set<uint32_t> once;
    while (at < end) {
      ASSIGN_OR_RETURN(const Element element, Next(at, end));
      if (!allowed.contains(element.id)) {
        return False(at, absl::StrCat("has an element that no export has (0x",
                                      absl::Hex(element.id), ")"));
      }
      // Of two, one reader takes the first and another the last.
      if (!Repeats().contains(element.id) && !once.insert(element.id).second) {
        return False(at, absl::StrCat("has an element twice (0x",
                                      absl::Hex(element.id), ")"));
      }
      if (parent == kTop) ++seen_;
      if (element.id == kEbml) {
        RETURN_IF_ERROR(CheckEbmlHeader(at, element));
      } else if (Children().contains(element.id)) {
        if (HasCrc(parent)) RETURN_IF_ERROR(CheckCrc(element));
        if (element.id == kTrackEntry) track_ = Track();
        RETURN_IF_ERROR(
            WalkChildren(element.id, element.body, element.end, depth + 1));
        if (element.id == kTrackEntry) RETURN_IF_ERROR(CheckDelay(at));
      } else {
        RETURN_IF_ERROR(CheckValue(at, element));
      }
      at = element.end;
    }
    return absl::OkStatus();
  }

  absl::Status CheckEbmlHeader(uint64_t at, const Element& element) {
    const std::string wanted = absl::HexStringToBytes(kEbmlHeader);
    if (at != 0 || element.end - element.body != wanted.size()) {
      return False(at, "is not the header that exports have");
    }
    ASSIGN_OR_RETURN(const absl::string_view bytes,
                     Bytes(element.body, wanted.size()));
    if (bytes != wanted) {
      return False(at, "is not the header that exports have");
    }
    return absl::OkStatus();
  }

  // RFC 8794, section 11.3.1.
  absl::Status CheckCrc(const Element& master) {
    ASSIGN_OR_RETURN(const Element first, Next(master.body, master.end));
    if (first.id != kCrc32 || first.end - first.body != 4) {
      return False(master.body, "a part of the file has no CRC-32 in front");
    }
    ASSIGN_OR_RETURN(const absl::string_view stored, Bytes(first.body, 4));
    uint32_t wanted = 0;
    for (size_t i = 0; i < 4; ++i) {
      wanted |= static_cast<uint32_t>(static_cast<uint8_t>(stored[i]))
                << (8 * i);
    }
    uLong crc = crc32(0, nullptr, 0);
    std::string piece;
    for (uint64_t at = first.end; at < master.end; at += piece.size()) {
      RETURN_IF_ERROR(file_->Read(
          at, std::min<uint64_t>(limits::kVerifyRead_bytes, master.end - at),
          &piece));
      if (piece.empty()) return False(at, "the file ends too early");
      crc = crc32(crc, reinterpret_cast<const Bytef*>(piece.data()),
                  static_cast<uInt>(piece.size()));
    }
    if (crc != wanted) {
      return False(master.body,
                   "a part of the file is not what was written "
                   "(its CRC-32 is false)");
    }
    return absl::OkStatus();
  }

  absl::Status CheckValue(uint64_t at, const Element& element) {
    const uint64_t size = element.end - element.body;
    if (element.id == kSimpleBlock || element.id == kBlock) {
      return CheckBlock(at, element);
    }
    if (size > kMaxValue_bytes)
      return False(at, "has a value that is too long");
    ASSIGN_OR_RETURN(const absl::string_view value, Bytes(element.body, size));
    const auto number = [&] {
      uint64_t result = 0;
      for (const char c : value) result = result << 8 | static_cast<uint8_t>(c);
      return result;
    };
    switch (element.id) {
      case kVoid:
        if (value.find_first_not_of('\0') != absl::string_view::npos) {
          return False(at, "empty space is not empty");
        }
        return absl::OkStatus();
      case kTimestampScale:
        if (number() != 1'000'000) return False(at, "counts other than in ms");
        return absl::OkStatus();
      case kFlagLacing:
        if (number() != 0) return False(at, "allows lacing");
        return absl::OkStatus();
      case kDisplayUnit:
        // Unknown: pictures are shown as large as they are.
        if (number() != 4) return False(at, "tells players another shape");
        return absl::OkStatus();
      case kCodecDelay:
        track_.delay_ns = number();
        return absl::OkStatus();
      case kCodecPrivate:
        if (absl::StartsWith(value, "OpusHead") && value.size() >= 12) {
          track_.pre_skip =
              static_cast<uint8_t>(value[10]) |
              static_cast<uint64_t>(static_cast<uint8_t>(value[11])) << 8;
        }
        return absl::OkStatus();
      default:
        return absl::OkStatus();
    }
  }

  // Players begin so much earlier: what the codec says and nothing else.
  absl::Status CheckDelay(uint64_t at) const {
    constexpr uint64_t kOpusRate_hz = 48'000;
    const uint64_t delay_ns =
        (track_.pre_skip * 1'000'000'000 + kOpusRate_hz / 2) / kOpusRate_hz;
    if (track_.delay_ns != 0 && track_.delay_ns != delay_ns) {
      return False(at, "a track's delay is not that of its codec");
    }
    return absl::OkStatus();
  }

  absl::Status CheckBlock(uint64_t at, const Element& element) {
    uint64_t head = element.body;
    ASSIGN_OR_RETURN(const uint64_t track, Number(&head, false));
    if (element.end - element.body >
            limits::kMaxPacket_bytes + kBlockHead_bytes ||
        head + 3 >= element.end || track == 0) {
      return False(at, "is no block");
    }
    ASSIGN_OR_RETURN(const absl::string_view rest, Bytes(head, 3));
    const auto flags = static_cast<uint8_t>(rest[2]);
    // Of a SimpleBlock the key frame alone; of a Block nothing.
    if ((flags & ~(element.id == kSimpleBlock ? 0x80 : 0)) != 0) {
      return False(at, "a block is laced, hidden, or may be dropped");
    }
    return absl::OkStatus();
  }

  base::ReadFile* const file_;
  const std::string& place_;
  std::string piece_;
  uint64_t piece_at_ = 0;
  // Elements at the top.
  int seen_ = 0;
  // The track entry that is being read.
  Track track_;
};

}  // namespace

absl::Status CheckMatroskaShape(base::ReadFile* file,
                                const std::string& place) {
  return Walker(file, place).Walk();
}

}  // namespace diptych::verify
