#include "tools/diptych/verify/gzip_text.h"

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"

namespace diptych::verify {
namespace {

constexpr char kHeaderBytes[] = "\x1f\x8b\x08\0\0\0\0\0\x02\x03";
constexpr absl::string_view kHeader(kHeaderBytes, sizeof(kHeaderBytes) - 1);
// CRC-32 and length.
constexpr size_t kTrailer_bytes = 8;
constexpr size_t kPiece_bytes = 256 << 10;
// Of z_stream::data_type after inflate with Z_BLOCK: how many bits of the last
// byte were not used, and that the last block has just ended.
constexpr int kUnusedBits = 7;
constexpr int kLastBlockEnded = 64 + 128;

struct EndInflate {
  void operator()(z_stream* stream) const {
    inflateEnd(stream);
    delete stream;
  }
};

uint32_t LittleEndian(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i > 0; --i) {
    value = value << 8 | static_cast<uint8_t>(bytes[i - 1]);
  }
  return value;
}

}  // namespace

absl::StatusOr<std::string> UnpackGzip(absl::string_view packed,
                                       size_t max_bytes) {
  const absl::Status bad =
      base::IntegrityError("is not compressed as it should be");
  if (packed.size() < kHeader.size() + kTrailer_bytes ||
      packed.substr(0, kHeader.size()) != kHeader) {
    return bad;
  }
  const absl::string_view trailer =
      packed.substr(packed.size() - kTrailer_bytes);
  absl::string_view body = packed.substr(
      kHeader.size(), packed.size() - kHeader.size() - kTrailer_bytes);
  const std::unique_ptr<z_stream, EndInflate> stream(new z_stream());
  // The bare deflate stream: its frame is looked at here.
  if (inflateInit2(stream.get(), -MAX_WBITS) != Z_OK) {
    return absl::ResourceExhaustedError("out of memory");
  }
  // zlib's own type has no const.
  stream->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream->avail_in = static_cast<uInt>(body.size());
  std::string text;
  std::string piece(kPiece_bytes, '\0');
  int state = Z_OK;
  int unused = 0;
  while (state == Z_OK) {
    stream->next_out = reinterpret_cast<Bytef*>(piece.data());
    stream->avail_out = static_cast<uInt>(piece.size());
    state = inflate(stream.get(), Z_BLOCK);
    if (state != Z_OK && state != Z_STREAM_END) return bad;
    if ((stream->data_type & kLastBlockEnded) == kLastBlockEnded) {
      unused = stream->data_type & kUnusedBits;
    }
    const size_t made = piece.size() - stream->avail_out;
    if (text.size() + made > max_bytes) {
      return base::IntegrityError("holds more than a bundle may");
    }
    text.append(piece, 0, made);
  }
  if (state != Z_STREAM_END || stream->avail_in != 0) return bad;
  // What of its last byte belongs to nothing, at the byte's upper end.
  if (unused > 0 && static_cast<uint8_t>(body.back()) >> (8 - unused) != 0) {
    return bad;
  }
  const uint32_t crc = static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(text.data()),
            static_cast<uInt>(text.size())));
  if (LittleEndian(trailer) != crc ||
      LittleEndian(trailer.substr(4)) != text.size()) {
    return bad;
  }
  return text;
}

}  // namespace diptych::verify
