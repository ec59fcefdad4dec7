#ifndef ARCHIVER_MEDIA_BIT_READER_H_
#define ARCHIVER_MEDIA_BIT_READER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace diptych::media {

// Reads bits, most significant first, from bytes that the caller keeps. Past
// the end everything reads as 0 and ok() stays false, so that a parser may read
// on and ask once. Not thread-safe.
class BitReader {
 public:
  explicit BitReader(absl::string_view bytes) : bytes_(bytes) {}

  // At most 32.
  uint32_t Bits(int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) value = (value << 1) | Bit();
    return value;
  }

  uint32_t Bit() {
    if (position_ >= bytes_.size() * 8) {
      ok_ = false;
      return 0;
    }
    const auto byte = static_cast<uint8_t>(bytes_[position_ / 8]);
    const uint32_t bit = (byte >> (7 - position_ % 8)) & 1;
    ++position_;
    return bit;
  }

  void Skip(size_t bits) {
    if (bits > bytes_.size() * 8 - position_) {
      position_ = bytes_.size() * 8;
      ok_ = false;
      return;
    }
    position_ += bits;
  }

  // ue(v) of H.264 and H.265.
  uint32_t ExpGolomb() {
    int zeros = 0;
    while (ok_ && Bit() == 0) {
      if (++zeros > 31) {
        ok_ = false;
        return 0;
      }
    }
    if (!ok_) return 0;
    return (uint32_t{1} << zeros) - 1 + Bits(zeros);
  }

  // False once more was read than there is.
  bool ok() const { return ok_; }

 private:
  const absl::string_view bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_BIT_READER_H_
