#include "archiver/seal/ratchet.h"

#include <cstdint>
#include <string>

#include <sodium.h>

#include "archiver/seal/secret.h"

namespace diptych::seal {
namespace {

SecretKey Derive(const SecretKey& key, uint64_t id,
                 const char (&context)[crypto_kdf_CONTEXTBYTES + 1]) {
  SecretKey derived;
  crypto_kdf_derive_from_key(derived.mutable_data(), SecretKey::kSize, id,
                             context, key.data());
  WipeStack();
  return derived;
}

}  // namespace

SecretKey SegmentKey(const SecretKey& chain_state) {
  return Derive(chain_state, 1, "dpt-segm");
}

SecretKey NextChainState(const SecretKey& chain_state) {
  return Derive(chain_state, 2, "dpt-next");
}

SecretKey SaltKey(const SecretKey& chain_state) {
  return Derive(chain_state, 3, "dpt-salt");
}

std::string Salt(const SecretKey& salt_key, SaltKind kind, uint64_t id) {
  switch (kind) {
    case SaltKind::kTrack:
      return std::string(Derive(salt_key, id, "dpt-trak").bytes());
    case SaltKind::kSpan:
      return std::string(Derive(salt_key, id, "dpt-span").bytes());
    case SaltKind::kNote:
      return std::string(Derive(salt_key, id, "dpt-note").bytes());
    case SaltKind::kAttachmentPart:
      return std::string(Derive(salt_key, id, "dpt-part").bytes());
  }
  return "";
}

}  // namespace diptych::seal
