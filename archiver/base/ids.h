#ifndef ARCHIVER_BASE_IDS_H_
#define ARCHIVER_BASE_IDS_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::base {

// A UUID (RFC 9562): of a session or of an archive.
class Uuid {
 public:
  static constexpr size_t kSize = 16;

  // All zero: no id.
  Uuid() = default;

  // The text form, 8-4-4-4-12 hexadecimal digits of either case.
  static absl::StatusOr<Uuid> Parse(absl::string_view text);

  // The 16 bytes.
  static absl::StatusOr<Uuid> FromBytes(absl::string_view bytes);

  // Version 7: the time in front, so that ids sort by it, and 74 random bits.
  static Uuid Random();

  // Lower case.
  std::string ToString() const;

  std::string_view bytes() const {
    return std::string_view(reinterpret_cast<const char*>(bytes_.data()),
                            kSize);
  }

  friend auto operator<=>(const Uuid&, const Uuid&) = default;

  template <typename H>
  friend H AbslHashValue(H h, const Uuid& id) {
    return H::combine(std::move(h), id.bytes_);
  }

 private:
  std::array<uint8_t, kSize> bytes_ = {};
};

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_IDS_H_
