#ifndef TOOLS_GATEWAY_SPOOL_CIPHER_H_
#define TOOLS_GATEWAY_SPOOL_CIPHER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::gateway {

inline constexpr size_t kSpoolKey_bytes = 32;
inline constexpr size_t kSpoolSalt_bytes = 32;
inline constexpr size_t kSpoolTag_bytes = 16;

// The key in `path`, 64 hexadecimal digits; made, with mode 0600, if there is
// no such file. FAILED_PRECONDITION if it is not a key or others may read it.
absl::StatusOr<std::string> LoadSpoolKey(const std::string& path);

// Random bytes for a file's header.
absl::StatusOr<std::string> NewSpoolSalt();

// The blocks of one file: AES-256-GCM under a key of that file alone, so that a
// block's number may be its nonce. Not thread-safe.
class SpoolCipher {
 public:
  SpoolCipher(absl::string_view key, absl::string_view file_name,
              absl::string_view salt);
  ~SpoolCipher();
  SpoolCipher(const SpoolCipher&) = delete;
  SpoolCipher& operator=(const SpoolCipher&) = delete;

  // 16 bytes that are others under another key.
  std::string KeyCheck() const;

  absl::StatusOr<std::string> Seal(uint64_t number,
                                   absl::string_view plain) const;
  // DATA_LOSS if these are not the bytes of this file's block `number`.
  absl::StatusOr<std::string> Open(uint64_t number,
                                   absl::string_view sealed) const;

 private:
  std::string key_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SPOOL_CIPHER_H_
