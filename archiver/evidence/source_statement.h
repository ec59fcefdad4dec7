#ifndef ARCHIVER_EVIDENCE_SOURCE_STATEMENT_H_
#define ARCHIVER_EVIDENCE_SOURCE_STATEMENT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::evidence {

// What a gateway says that it sent of a track (FORMAT.md, "What a gateway
// signs").
struct SourceStatement {
  // 1 resident, 2 clerk.
  uint8_t side = 0;
  uint32_t track_id = 0;
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  uint64_t packets = 0;
  // 32 bytes; empty without packets.
  std::string root;
  int64_t signed_time_us = 0;

  // What is signed. The ids are the 16 bytes of the UUIDs.
  std::string SignedBytes(absl::string_view archive_id,
                          absl::string_view session_id) const;
};

// How records name an Ed25519 key: the first 8 bytes of its SHA-256.
std::string SigningKeyId(absl::string_view public_key);

// "diptych/ARCHIVE-UUID", the log's origin and its key's name.
std::string LogOrigin(absl::string_view archive_uuid_text);
// "diptych/ARCHIVE-UUID/gateway/NAME".
std::string SourceName(absl::string_view archive_uuid_text,
                       absl::string_view gateway);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_SOURCE_STATEMENT_H_
