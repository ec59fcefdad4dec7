#ifndef ARCHIVER_BASE_SHA256_H_
#define ARCHIVER_BASE_SHA256_H_

#include <cstdint>
#include <string>

#include <openssl/sha.h>

#include "absl/strings/string_view.h"

namespace diptych::base {

inline constexpr size_t kSha256_bytes = 32;

// The 32 bytes of SHA-256 (FIPS 180-4), by OpenSSL.
std::string Sha256(absl::string_view data);

// The same in lower-case hexadecimal, as sha256sum prints it.
std::string Sha256Hex(absl::string_view data);

// SHA-256 of what is added piece by piece. Integers go in big-endian, as every
// hashed form in archiver/evidence/FORMAT.md has them. Not thread-safe.
class Sha256Hasher {
 public:
  Sha256Hasher();

  Sha256Hasher& Add(absl::string_view bytes);
  Sha256Hasher& AddU8(uint8_t value);
  Sha256Hasher& AddU32(uint32_t value);
  Sha256Hasher& AddU64(uint64_t value);

  // Of all that was added. Nothing may be added after it.
  std::string Finish();

 private:
  SHA256_CTX context_;
};

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_SHA256_H_
