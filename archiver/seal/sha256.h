#ifndef ARCHIVER_SEAL_SHA256_H_
#define ARCHIVER_SEAL_SHA256_H_

#include <string>

#include "absl/strings/string_view.h"

namespace diptych::seal {

// The 32 bytes of SHA-256 (FIPS 180-4), by OpenSSL.
std::string Sha256(absl::string_view data);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_SHA256_H_
