#ifndef ARCHIVER_SEAL_RATCHET_H_
#define ARCHIVER_SEAL_RATCHET_H_

#include "archiver/seal/secret.h"

namespace diptych::seal {

// The forward ratchet of segment keys (FORMAT.md). A chain's state at segment 0
// is the root key; from a state follow the segment's key and the next state,
// and neither leads back.
SecretKey SegmentKey(const SecretKey& chain_state);
SecretKey NextChainState(const SecretKey& chain_state);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_RATCHET_H_
