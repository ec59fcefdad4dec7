#include "archiver/log/frame.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <isa-l/crc.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"

namespace diptych::log {
namespace {

constexpr uint8_t kFrameVersion = 1;

// Offsets in the frame; all integers little-endian.
constexpr size_t kMagicAt = 0;
constexpr size_t kVersionAt = 4;
constexpr size_t kTypeAt = 5;
constexpr size_t kReservedAt = 6;
constexpr size_t kHeaderBytesAt = 8;
constexpr size_t kBodyBytesAt = 12;
constexpr size_t kPositionAt = 16;
constexpr size_t kDurableBeforeAt = 24;
constexpr size_t kHeaderCrcAt = 32;
constexpr size_t kBodyCrcAt = 36;
constexpr size_t kReserved2At = 40;
constexpr size_t kFrameCrcAt = 44;

void Put32(char* at, uint32_t value) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(value >> (8 * i));
}
void Put64(char* at, uint64_t value) {
  for (int i = 0; i < 8; ++i) at[i] = static_cast<char>(value >> (8 * i));
}
uint32_t Get32(const char* at) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(at[i]);
  return value;
}
uint64_t Get64(const char* at) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(at[i]);
  return value;
}

// ISA-L leaves the upper halves of the vector registers in use; until they are
// cleared, SHA-256 by the processor's instructions takes a third longer.
#if defined(__x86_64__)
__attribute__((target("avx"))) void ClearUpperHalves() { _mm256_zeroupper(); }
#endif

void EndVectorCode() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx")) ClearUpperHalves();
#endif
}

}  // namespace

uint32_t Crc32c(absl::string_view data) {
  // ISA-L takes an int length and a non-const pointer, and leaves the initial
  // and final inversion to the caller. Bodies are far below INT_MAX.
  const uint32_t crc = crc32_iscsi(
      reinterpret_cast<unsigned char*>(const_cast<char*>(data.data())),
      static_cast<int>(data.size()), 0xffffffffu);
  EndVectorCode();
  return ~crc;
}

std::string EncodeFrame(const Record& record, Position position,
                        Position durable_before) {
  std::string frame(kFrame_bytes, '\0');
  char* out = frame.data();
  std::memcpy(out + kMagicAt, kFrameMagic, sizeof(kFrameMagic));
  out[kVersionAt] = static_cast<char>(kFrameVersion);
  out[kTypeAt] = static_cast<char>(record.type);
  Put32(out + kHeaderBytesAt, static_cast<uint32_t>(record.header.size()));
  Put32(out + kBodyBytesAt, static_cast<uint32_t>(record.body.size()));
  Put64(out + kPositionAt, position);
  Put64(out + kDurableBeforeAt, durable_before);
  Put32(out + kHeaderCrcAt, Crc32c(record.header));
  Put32(out + kBodyCrcAt, Crc32c(record.body));
  Put32(out + kFrameCrcAt,
        Crc32c(absl::string_view(frame).substr(0, kFrameCrcAt)));
  return frame;
}

absl::StatusOr<Frame> DecodeFrame(absl::string_view bytes, Position position) {
  if (bytes.size() < kFrame_bytes) {
    return base::IntegrityError(absl::StrCat(
        "only ", bytes.size(), " of a frame's ", kFrame_bytes, " bytes"));
  }
  const char* in = bytes.data();
  if (std::memcmp(in + kMagicAt, kFrameMagic, sizeof(kFrameMagic)) != 0) {
    return base::IntegrityError("no frame begins here");
  }
  if (Crc32c(bytes.substr(0, kFrameCrcAt)) != Get32(in + kFrameCrcAt)) {
    return base::IntegrityError("frame checksum differs");
  }
  if (static_cast<uint8_t>(in[kVersionAt]) != kFrameVersion ||
      in[kReservedAt] != 0 || in[kReservedAt + 1] != 0 ||
      Get32(in + kReserved2At) != 0) {
    return base::IntegrityError(
        "frame of a format that this version does not know");
  }
  Frame frame;
  frame.type = static_cast<RecordType>(static_cast<uint8_t>(in[kTypeAt]));
  frame.header_bytes = Get32(in + kHeaderBytesAt);
  frame.body_bytes = Get32(in + kBodyBytesAt);
  frame.position = Get64(in + kPositionAt);
  frame.durable_before = Get64(in + kDurableBeforeAt);
  frame.header_crc32c = Get32(in + kHeaderCrcAt);
  frame.body_crc32c = Get32(in + kBodyCrcAt);
  if (frame.position != position) {
    return base::IntegrityError(
        absl::StrCat("frame says that it belongs at ", frame.position));
  }
  if (frame.header_bytes > limits::kMaxRecordHeader_bytes ||
      frame.body_bytes > limits::kMaxRecordBody_bytes) {
    return base::IntegrityError("frame lengths are over the limit");
  }
  return frame;
}

std::optional<size_t> FindMagic(absl::string_view bytes, size_t from) {
  const size_t found =
      bytes.find(absl::string_view(kFrameMagic, sizeof(kFrameMagic)), from);
  if (found == absl::string_view::npos) return std::nullopt;
  return found;
}

}  // namespace diptych::log
