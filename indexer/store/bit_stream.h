#ifndef INDEXER_STORE_BIT_STREAM_H_
#define INDEXER_STORE_BIT_STREAM_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::indexer {

// Numbers of any width in bits, the lowest bit of a byte first. Inline, since
// walking postings is mostly this.
class BitWriter {
 public:
  // Appends to `out`, which must outlive it.
  explicit BitWriter(std::string* out) : out_(out) {}

  // REQUIRES: bits <= 56, and value has no more.
  void Write(uint64_t value, int bits) {
    pending_ |= value << pending_bits_;
    pending_bits_ += bits;
    while (pending_bits_ >= 8) {
      out_->push_back(static_cast<char>(pending_));
      pending_ >>= 8;
      pending_bits_ -= 8;
    }
  }
  // Golomb-Rice: what lies above the `low_bits` in unary, then those.
  void WriteRice(uint64_t value, int low_bits) {
    for (uint64_t zeros = value >> low_bits; zeros > 0; --zeros) Write(0, 1);
    Write(1, 1);
    Write(value & ((uint64_t{1} << low_bits) - 1), low_bits);
  }
  // Fills the last byte with zeros.
  void Finish() {
    if (pending_bits_ > 0) Write(0, 8 - pending_bits_);
  }

 private:
  std::string* const out_;
  uint64_t pending_ = 0;
  int pending_bits_ = 0;
};

// Reads what BitWriter wrote. Past the end lie zeros; nothing else is looked at
// there, and position() tells whoever wants to know.
class BitReader {
 public:
  // `bytes` must outlive it.
  explicit BitReader(absl::string_view bytes) : bytes_(bytes) {}

  // In bits, from the beginning.
  size_t position() const { return position_; }
  void MoveTo(size_t position) { position_ = position; }

  // REQUIRES: bits <= kPeek_bits.
  uint64_t Read(int bits) {
    const uint64_t value = Peek() & ((uint64_t{1} << bits) - 1);
    position_ += static_cast<size_t>(bits);
    return value;
  }

  // False if it does not end before the end. REQUIRES: low_bits <= 40.
  bool ReadRice(int low_bits, uint64_t* value) {
    const uint64_t ahead = Peek();
    const int zeros = std::countr_zero(ahead);
    if (zeros + 1 + low_bits <= kPeek_bits) [[likely]] {
      const uint64_t low =
          ahead >> (zeros + 1) & ((uint64_t{1} << low_bits) - 1);
      *value = static_cast<uint64_t>(zeros) << low_bits | low;
      position_ += static_cast<size_t>(zeros + 1 + low_bits);
      return position_ <= bytes_.size() * 8;
    }
    return ReadLongRice(low_bits, value);
  }

  static constexpr int kPeek_bits = 57;

 private:
  // At least kPeek_bits from the position on.
  uint64_t Peek() const {
    const size_t byte = position_ / 8;
    uint64_t word = 0;
    if (byte + sizeof word <= bytes_.size()) [[likely]] {
      static_assert(std::endian::native == std::endian::little);
      std::memcpy(&word, bytes_.data() + byte, sizeof word);
    } else if (byte < bytes_.size()) {
      std::memcpy(&word, bytes_.data() + byte, bytes_.size() - byte);
    }
    return word >> (position_ % 8);
  }

  bool ReadLongRice(int low_bits, uint64_t* value) {
    uint64_t zeros = 0;
    while ((Peek() & 1) == 0) {
      if (position_ >= bytes_.size() * 8) return false;
      ++zeros;
      ++position_;
    }
    ++position_;
    *value = zeros << low_bits | Read(low_bits);
    return position_ <= bytes_.size() * 8;
  }

  absl::string_view bytes_;
  size_t position_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_BIT_STREAM_H_
