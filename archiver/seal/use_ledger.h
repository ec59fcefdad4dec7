#ifndef ARCHIVER_SEAL_USE_LEDGER_H_
#define ARCHIVER_SEAL_USE_LEDGER_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {

// A key has one purpose in its life (FORMAT.md, "No key twice"). Fields that a
// purpose has no use for are left out.
struct KeyPurpose {
  // What kind of key: "root", "segment", "envelope", ...
  absl::string_view kind;
  absl::string_view session_id;
  uint64_t epoch = 0;
  uint32_t segment = 0;
  int key_class = 0;
};

// May the same key be made again, for the same purpose?
enum class KeyLife {
  // Never: random, or derived from a random one, once.
  kOnce,
  // By every process that derives it from a recipient's key.
  kStanding,
};

// Test builds link //archiver/seal:use_ledger, which defines these two and
// writes down hashes of keys and nonces, so that a test can prove that none is
// used twice. Nothing else defines them: other programs are told nothing and
// write nothing. Thread-safe.
__attribute__((weak)) void WriteKeyMade(const SecretKey& key, KeyLife life,
                                        const KeyPurpose& purpose);
__attribute__((weak)) void WriteKeyUsed(const SecretKey& key,
                                        absl::string_view nonce);

// Whoever makes a key for sealing says so before it is used.
inline void NoteKeyMade(const SecretKey& key, KeyLife life,
                        const KeyPurpose& purpose) {
  if (WriteKeyMade != nullptr) WriteKeyMade(key, life, purpose);
}

// Whoever seals says so before the sealed bytes go anywhere.
inline void NoteKeyUsed(const SecretKey& key, absl::string_view nonce) {
  if (WriteKeyUsed != nullptr) WriteKeyUsed(key, nonce);
}

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_USE_LEDGER_H_
