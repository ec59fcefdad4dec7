#include "indexer/store/varint.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::indexer {

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void AppendSignedVarint(int64_t value, std::string* out) {
  const auto bits = static_cast<uint64_t>(value);
  AppendVarint(bits << 1 ^ (value < 0 ? ~uint64_t{0} : 0), out);
}

uint64_t VarintReader::ReadVarint() {
  uint64_t value = 0;
  for (size_t i = 0; i < rest_.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(rest_[i]);
    // The tenth byte has room for one bit.
    if (i == 9 && byte > 1) break;
    value |= uint64_t{byte & 0x7fU} << (7 * i);
    if (byte < 0x80) {
      rest_.remove_prefix(i + 1);
      return value;
    }
  }
  Fail();
  return 0;
}

int64_t VarintReader::ReadSigned() {
  const uint64_t bits = ReadVarint();
  return static_cast<int64_t>(bits >> 1 ^ (~(bits & 1) + 1));
}

uint32_t VarintReader::ReadVarint32() {
  const uint64_t value = ReadVarint();
  if (value > std::numeric_limits<uint32_t>::max()) {
    Fail();
    return 0;
  }
  return static_cast<uint32_t>(value);
}

uint8_t VarintReader::ReadByte() {
  if (rest_.empty()) {
    Fail();
    return 0;
  }
  const auto byte = static_cast<uint8_t>(rest_.front());
  rest_.remove_prefix(1);
  return byte;
}

absl::string_view VarintReader::ReadBytes(size_t count) {
  if (count > rest_.size()) {
    Fail();
    return absl::string_view();
  }
  const absl::string_view bytes = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return bytes;
}

}  // namespace diptych::indexer
