#ifndef TOOLS_DIPTYCH_VERIFY_PACKET_TIMES_H_
#define TOOLS_DIPTYCH_VERIFY_PACKET_TIMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/evidence/packet_line.h"

namespace diptych::verify {

// `raw_ms` of evidence.json: for each of `packets` packets what is added to its
// session milliseconds to get the gateway's own. DATA_LOSS, saying what is
// wrong, if it is of another number of packets, or no such list.
absl::StatusOr<std::vector<int64_t>> UnpackRawTimes(absl::string_view packed,
                                                    uint64_t packets);

// boundary.bin, packet by packet.
class BoundaryReader {
 public:
  // `file` must outlive it.
  explicit BoundaryReader(base::ReadFile* file) : file_(file) {}

  // DATA_LOSS if the next packet is not whole, or of another track.
  absl::StatusOr<evidence::PacketLine> Next(uint32_t track_id);
  // True if every byte was read.
  absl::StatusOr<bool> AtEnd();

 private:
  base::ReadFile* const file_;
  uint64_t offset_ = 0;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_PACKET_TIMES_H_
