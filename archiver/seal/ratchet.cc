#include "archiver/seal/ratchet.h"

#include <sodium.h>

#include "archiver/seal/secret.h"

namespace diptych::seal {
namespace {

SecretKey Derive(const SecretKey& key, uint64_t id,
                 const char (&context)[crypto_kdf_CONTEXTBYTES + 1]) {
  SecretKey derived;
  crypto_kdf_derive_from_key(derived.mutable_data(), SecretKey::kSize, id,
                             context, key.data());
  return derived;
}

}  // namespace

SecretKey SegmentKey(const SecretKey& chain_state) {
  return Derive(chain_state, 1, "dpt-segm");
}

SecretKey NextChainState(const SecretKey& chain_state) {
  return Derive(chain_state, 2, "dpt-next");
}

}  // namespace diptych::seal
