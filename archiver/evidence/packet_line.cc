#include "archiver/evidence/packet_line.h"

#include <cstdint>
#include <string>

#include "archiver/evidence/big_endian.h"

namespace diptych::evidence {

int64_t ToMs(int64_t us) {
  const int64_t rounded = us + 500;
  // Division rounds towards zero, and times may lie before it.
  return rounded >= 0 ? rounded / 1000 : -((999 - rounded) / 1000);
}

std::string PacketLine::Bytes() const {
  std::string bytes;
  bytes.reserve(45);
  AppendU64(&bytes, static_cast<uint64_t>(pts_ms));
  bytes.push_back(static_cast<char>(key_frame ? kKeyFrameFlag : 0));
  AppendU32(&bytes, payload_bytes);
  bytes.append(payload_sha256);
  return bytes;
}

}  // namespace diptych::evidence
