// OpenSSL 3 calls the streaming functions of <openssl/sha.h> deprecated for
// EVP's, which allocate for every hash; packets are hashed one by one.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "archiver/base/sha256.h"

#include <cstdint>
#include <string>

#include <openssl/sha.h>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace diptych::base {

// Not SHA256(), which looks its algorithm up by name each time: half a
// microsecond.
std::string Sha256(absl::string_view data) {
  return Sha256Hasher().Add(data).Finish();
}

std::string Sha256Hex(absl::string_view data) {
  return absl::BytesToHexString(Sha256(data));
}

Sha256Hasher::Sha256Hasher() { SHA256_Init(&context_); }

Sha256Hasher& Sha256Hasher::Add(absl::string_view bytes) {
  SHA256_Update(&context_, bytes.data(), bytes.size());
  return *this;
}

Sha256Hasher& Sha256Hasher::AddU8(uint8_t value) {
  SHA256_Update(&context_, &value, 1);
  return *this;
}

Sha256Hasher& Sha256Hasher::AddU32(uint32_t value) {
  const uint8_t bytes[4] = {
      static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
      static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
  SHA256_Update(&context_, bytes, sizeof(bytes));
  return *this;
}

Sha256Hasher& Sha256Hasher::AddU64(uint64_t value) {
  return AddU32(static_cast<uint32_t>(value >> 32))
      .AddU32(static_cast<uint32_t>(value));
}

std::string Sha256Hasher::Finish() {
  std::string hash(kSha256_bytes, '\0');
  SHA256_Final(reinterpret_cast<unsigned char*>(hash.data()), &context_);
  return hash;
}

}  // namespace diptych::base
