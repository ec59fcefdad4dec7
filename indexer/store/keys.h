#ifndef INDEXER_STORE_KEYS_H_
#define INDEXER_STORE_KEYS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// The rows of meta: the index's state, and which index key it is of.
inline constexpr absl::string_view kStateKey = "state";
inline constexpr absl::string_view kFingerprintKey = "fingerprint";

// What a detail row is about; part of its key.
enum class DetailKind : char {
  kAttachment = 'a',
  kClockAnchor = 'c',
  kEvent = 'e',
  kGap = 'g',
  kClockChange = 'k',
  kAttachmentPart = 'p',
  kSpan = 's',
  kStateChange = 't',
};

// Ids: the session's 16 bytes.
std::string IdKey(const base::Uuid& session);
// Sessions, and a row of ids: SessionNumber::kKey_bytes, big-endian.
std::string SessionKey(SessionNumber session);
// REQUIRES: key has SessionNumber::kKey_bytes at least.
SessionNumber ReadSessionNumber(absl::string_view key);
// Segments and runs: the session's key, then the group, big-endian. A row has a
// group of them: those with the same number / limits::kSegmentsPerPack,
// kRunsPerPack.
std::string GroupKey(SessionNumber session, uint32_t group);
// Chunks: the session's 16 bytes, then number / limits::kChunksPerPack.
std::string ChunkGroupKey(const base::Uuid& session, uint32_t group);
// Changes: where in the log a batch ended, big-endian.
std::string ChangesKey(uint64_t position);
// Details: the session, the kind, the number.
std::string DetailPrefix(const base::Uuid& session, DetailKind kind);
std::string DetailKey(const base::Uuid& session, DetailKind kind,
                      uint32_t number);
std::string AttachmentPartPrefix(const base::Uuid& session, uint32_t id);
std::string AttachmentPartKey(const base::Uuid& session, uint32_t id,
                              uint64_t offset);

// The smallest key after all that begin with `prefix`; empty if there is none.
std::string PrefixEnd(absl::string_view prefix);

void AppendBigEndian32(uint32_t value, std::string* out);
void AppendBigEndian64(uint64_t value, std::string* out);
// REQUIRES: bytes.size() >= 4 or 8.
uint32_t ReadBigEndian32(absl::string_view bytes);
uint64_t ReadBigEndian64(absl::string_view bytes);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_KEYS_H_
