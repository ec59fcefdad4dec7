#ifndef INDEXER_STORE_VARINT_H_
#define INDEXER_STORE_VARINT_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::indexer {

// Numbers in as few bytes as they need: seven bits a byte, the lowest first,
// the high bit set on all but the last.
void AppendVarint(uint64_t value, std::string* out);
// Small numbers of either sign stay small.
void AppendSignedVarint(int64_t value, std::string* out);

// Reads what these wrote. Never looks past the end: bytes that are too few or
// say nothing make it fail, and from then on everything it reads is 0.
class VarintReader {
 public:
  // `bytes` must outlive it.
  explicit VarintReader(absl::string_view bytes) : rest_(bytes) {}

  uint64_t ReadVarint();
  int64_t ReadSigned();
  // Fails if the number does not fit.
  uint32_t ReadVarint32();
  uint8_t ReadByte();
  absl::string_view ReadBytes(size_t count);

  // False after a failure.
  bool ok() const { return ok_; }
  void Fail() {
    ok_ = false;
    rest_ = absl::string_view();
  }
  // All was read, and well.
  bool AtGoodEnd() const { return ok_ && rest_.empty(); }
  size_t left() const { return rest_.size(); }

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_VARINT_H_
