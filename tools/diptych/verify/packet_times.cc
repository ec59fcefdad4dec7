#include "tools/diptych/verify/packet_times.h"

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/packet_line.h"

namespace diptych::verify {
namespace {

constexpr size_t kInflate_bytes = 64 << 10;
constexpr size_t kBoundaryHead_bytes = 4 + 8 + 1 + 4;
// Sums of differences stay far from the ends of 64 bits.
constexpr int64_t kMostDifference_ms = int64_t{1} << 50;

struct EndInflate {
  void operator()(z_stream* stream) const {
    inflateEnd(stream);
    delete stream;
  }
};

// Takes varints byte by byte, as they come out of the inflating.
class TimesParser {
 public:
  explicit TimesParser(uint64_t packets) : packets_(packets) {}

  absl::Status Add(absl::string_view bytes) {
    for (const char c : bytes) {
      const auto byte = static_cast<uint8_t>(c);
      if (shift_ > 63 || (shift_ == 63 && byte > 1)) {
        return base::IntegrityError("raw_ms has a number that is too long");
      }
      value_ |= static_cast<uint64_t>(byte & 0x7f) << shift_;
      if ((byte & 0x80) != 0) {
        shift_ += 7;
        continue;
      }
      const auto difference =
          static_cast<int64_t>(value_ >> 1) ^ -static_cast<int64_t>(value_ & 1);
      value_ = 0;
      shift_ = 0;
      if (difference > kMostDifference_ms || difference < -kMostDifference_ms ||
          times_.size() == packets_) {
        return base::IntegrityError(
            "raw_ms has more numbers than packets, or none that can be");
      }
      last_ += difference;
      if (last_ > kMostDifference_ms || last_ < -kMostDifference_ms) {
        return base::IntegrityError("raw_ms has a time that can't be");
      }
      times_.push_back(last_);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int64_t>> Finish() {
    if (shift_ != 0 || times_.size() != packets_) {
      return base::IntegrityError("raw_ms has fewer numbers than packets");
    }
    return std::move(times_);
  }

 private:
  const uint64_t packets_;
  std::vector<int64_t> times_;
  int64_t last_ = 0;
  uint64_t value_ = 0;
  int shift_ = 0;
};

uint64_t ReadBigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> UnpackRawTimes(absl::string_view packed,
                                                    uint64_t packets) {
  const std::unique_ptr<z_stream, EndInflate> stream(new z_stream());
  if (inflateInit(stream.get()) != Z_OK) {
    return absl::ResourceExhaustedError("out of memory");
  }
  stream->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream->avail_in = static_cast<uInt>(packed.size());
  TimesParser parser(packets);
  std::string out(kInflate_bytes, '\0');
  int state = Z_OK;
  while (state == Z_OK) {
    stream->next_out = reinterpret_cast<Bytef*>(out.data());
    stream->avail_out = static_cast<uInt>(out.size());
    state = inflate(stream.get(), Z_NO_FLUSH);
    if (state != Z_OK && state != Z_STREAM_END) break;
    RETURN_IF_ERROR(parser.Add(
        absl::string_view(out).substr(0, out.size() - stream->avail_out)));
  }
  if (state != Z_STREAM_END || stream->avail_in != 0) {
    return base::IntegrityError("raw_ms is not compressed as it should be");
  }
  return parser.Finish();
}

absl::StatusOr<evidence::PacketLine> BoundaryReader::Next(uint32_t track_id) {
  std::string head;
  RETURN_IF_ERROR(file_->Read(offset_, kBoundaryHead_bytes, &head));
  if (head.size() != kBoundaryHead_bytes) {
    return base::IntegrityError(
        "has fewer packets than evidence.json says are in it");
  }
  const absl::string_view view = head;
  evidence::PacketLine line;
  line.pts_ms = static_cast<int64_t>(ReadBigEndian(view.substr(4, 8)));
  const auto flags = static_cast<uint8_t>(view[12]);
  line.payload_bytes = static_cast<uint32_t>(ReadBigEndian(view.substr(13, 4)));
  constexpr int64_t kMost_ms = int64_t{1} << 50;
  if (ReadBigEndian(view.substr(0, 4)) != track_id ||
      flags > evidence::kKeyFrameFlag || line.payload_bytes == 0 ||
      line.payload_bytes > limits::kMaxPacket_bytes || line.pts_ms > kMost_ms ||
      line.pts_ms < -kMost_ms) {
    return base::IntegrityError(absl::StrCat(
        "the packet at byte ", offset_, " is not one of track ", track_id));
  }
  line.key_frame = flags == evidence::kKeyFrameFlag;
  offset_ += kBoundaryHead_bytes;
  std::string payload;
  RETURN_IF_ERROR(file_->Read(offset_, line.payload_bytes, &payload));
  if (payload.size() != line.payload_bytes) {
    return base::IntegrityError("ends in the middle of a packet");
  }
  offset_ += payload.size();
  line.payload_sha256 = base::Sha256(payload);
  return line;
}

absl::StatusOr<bool> BoundaryReader::AtEnd() {
  ASSIGN_OR_RETURN(const uint64_t size, file_->Size());
  return offset_ == size;
}

}  // namespace diptych::verify
