#ifndef ARCHIVER_EVIDENCE_BIG_ENDIAN_H_
#define ARCHIVER_EVIDENCE_BIG_ENDIAN_H_

#include <cstdint>
#include <string>

namespace diptych::evidence {

// Appends an integer as FORMAT.md's hashed forms have it.
inline void AppendU32(std::string* bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes->push_back(static_cast<char>(value >> shift));
  }
}

inline void AppendU64(std::string* bytes, uint64_t value) {
  AppendU32(bytes, static_cast<uint32_t>(value >> 32));
  AppendU32(bytes, static_cast<uint32_t>(value));
}

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_BIG_ENDIAN_H_
