#ifndef ARCHIVER_SEAL_RATCHET_H_
#define ARCHIVER_SEAL_RATCHET_H_

#include <cstdint>
#include <string>

#include "archiver/seal/secret.h"

namespace diptych::seal {

// The forward ratchet of segment keys (FORMAT.md). A chain's state at segment 0
// is the root key; from a state follow the segment's key and the next state,
// and neither leads back.
SecretKey SegmentKey(const SecretKey& chain_state);
SecretKey NextChainState(const SecretKey& chain_state);

// From which a segment's salts follow; leads to no other key.
SecretKey SaltKey(const SecretKey& chain_state);

// What a salt is for (archiver/evidence/FORMAT.md).
enum class SaltKind { kTrack, kSpan, kNote, kAttachmentPart };

// 32 bytes that may be disclosed: lead neither to the key nor to other salts.
std::string Salt(const SecretKey& salt_key, SaltKind kind, uint64_t id);

// The id of a note's salt, and of an attachment part's.
inline uint64_t NoteSaltId(uint8_t side, uint64_t note) {
  return (uint64_t{side} << 56) + note;
}

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_RATCHET_H_
