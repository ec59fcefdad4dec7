#ifndef ARCHIVER_SEAL_SECRET_H_
#define ARCHIVER_SEAL_SECRET_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::seal {

// Readies libsodium: seeds its generator and picks the machine's fastest code.
// Every program calls it once before any thread of its own starts.
absl::Status InitializeCrypto();

// 32 secret bytes that are wiped when they go. Moves, never copies by accident;
// cannot be printed.
class SecretKey {
 public:
  static constexpr size_t kSize = 32;

  SecretKey() = default;
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  SecretKey(const SecretKey&) = delete;
  SecretKey& operator=(const SecretKey&) = delete;
  ~SecretKey();

  static SecretKey Random();
  static absl::StatusOr<SecretKey> FromBytes(absl::string_view bytes);
  SecretKey Clone() const;

  const uint8_t* data() const { return bytes_.data(); }
  uint8_t* mutable_data() { return bytes_.data(); }
  // For putting it into a message that is sealed at once.
  absl::string_view bytes() const {
    return absl::string_view(reinterpret_cast<const char*>(bytes_.data()),
                             kSize);
  }

 private:
  std::array<uint8_t, kSize> bytes_ = {};
};

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_SECRET_H_
