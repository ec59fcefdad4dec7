#include "archiver/seal/sha256.h"

#include <string>

#include <openssl/sha.h>

#include "absl/strings/string_view.h"

namespace diptych::seal {

std::string Sha256(absl::string_view data) {
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

}  // namespace diptych::seal
