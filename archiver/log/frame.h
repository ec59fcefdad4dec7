#ifndef ARCHIVER_LOG_FRAME_H_
#define ARCHIVER_LOG_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/log/record.h"

namespace diptych::log {

// The fixed part in front of every record. FORMAT.md has the layout.
inline constexpr size_t kFrame_bytes = 48;
inline constexpr char kFrameMagic[4] = {'\xd1', 'P', 'T', 'Y'};

struct Frame {
  RecordType type;
  uint32_t header_bytes = 0;
  uint32_t body_bytes = 0;
  // Where this record begins; a frame elsewhere is not this store's.
  Position position = 0;
  // Everything before this was durable when the record was written. Tells a
  // torn tail from damage.
  Position durable_before = 0;
  uint32_t header_crc32c = 0;
  uint32_t body_crc32c = 0;

  uint64_t record_bytes() const {
    return kFrame_bytes + uint64_t{header_bytes} + body_bytes;
  }
};

// CRC32C (Castagnoli, RFC 3720) of `data`.
uint32_t Crc32c(absl::string_view data);

// The 48 bytes in front of `record`.
std::string EncodeFrame(const Record& record, Position position,
                        Position durable_before);

// Parses and verifies a frame's own fields (not header and body). DATA_LOSS,
// saying what is wrong, if these are not a frame that belongs at `position`.
absl::StatusOr<Frame> DecodeFrame(absl::string_view bytes, Position position);

// The offset of the first byte at or after `from` where the magic stands;
// nullopt if it does not.
std::optional<size_t> FindMagic(absl::string_view bytes, size_t from);

}  // namespace diptych::log

#endif  // ARCHIVER_LOG_FRAME_H_
