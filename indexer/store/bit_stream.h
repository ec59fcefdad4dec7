#ifndef INDEXER_STORE_BIT_STREAM_H_
#define INDEXER_STORE_BIT_STREAM_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/base/attributes.h"
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
  // As many zeros, then a one.
  void WriteUnary(uint64_t zeros) {
    for (; zeros > 0; --zeros) Write(0, 1);
    Write(1, 1);
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

// Reads what BitWriter wrote. Past the end lie zeros: no memory is looked at
// there, and position() tells whoever wants to know.
class BitReader {
 public:
  // `bytes` must outlive it.
  explicit BitReader(absl::string_view bytes)
      : bytes_(bytes.data()),
        size_(bytes.size()),
        whole_words_end_(
            size_ < sizeof(uint64_t) ? 0 : (size_ - sizeof(uint64_t) + 1) * 8) {
  }

  // In bits, from the beginning.
  size_t position() const { return position_; }
  void MoveTo(size_t position) { position_ = position; }

  // REQUIRES: bits <= kPeek_bits.
  ABSL_ATTRIBUTE_ALWAYS_INLINE uint64_t Read(int bits) {
    const uint64_t value = Peek() & ((uint64_t{1} << bits) - 1);
    position_ += static_cast<size_t>(bits);
    return value;
  }

  static constexpr int kPeek_bits = 57;

 private:
  // At least kPeek_bits from the position on.
  ABSL_ATTRIBUTE_ALWAYS_INLINE uint64_t Peek() const {
    if (position_ >= whole_words_end_) [[unlikely]]
      return PeekAtEnd();
    static_assert(std::endian::native == std::endian::little);
    uint64_t word;
    std::memcpy(&word, bytes_ + position_ / 8, sizeof word);
    return word >> (position_ % 8);
  }

  ABSL_ATTRIBUTE_NOINLINE uint64_t PeekAtEnd() const {
    const size_t byte = position_ / 8;
    uint64_t word = 0;
    if (byte < size_) {
      std::memcpy(&word, bytes_ + byte, std::min(sizeof word, size_ - byte));
    }
    return word >> (position_ % 8);
  }

  const char* const bytes_;
  const size_t size_;
  // Before this bit, eight bytes can be taken at once.
  const size_t whole_words_end_;
  size_t position_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_BIT_STREAM_H_
