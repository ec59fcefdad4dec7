#ifndef ARCHIVER_EVIDENCE_PACKET_LINE_H_
#define ARCHIVER_EVIDENCE_PACKET_LINE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::evidence {

inline constexpr uint8_t kKeyFrameFlag = 1;

// Microseconds as hashes know them: rounded to the nearest millisecond.
int64_t ToMs(int64_t us);

// One packet as leaves and source trees have it (FORMAT.md, "Packets"): 45
// bytes. `payload_sha256` is the 32 bytes of the canonical payload's hash.
struct PacketLine {
  int64_t pts_ms = 0;
  // Of a video track; always false for sound.
  bool key_frame = false;
  uint32_t payload_bytes = 0;
  std::string payload_sha256;

  std::string Bytes() const;
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_PACKET_LINE_H_
