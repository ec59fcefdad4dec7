#ifndef ARCHIVER_MEDIA_PACKET_TABLE_H_
#define ARCHIVER_MEDIA_PACKET_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::media {

// What a chunk knows of one packet beside its payload: all that Matroska loses.
struct PacketInfo {
  uint32_t track_id = 0;
  uint64_t sequence = 0;
  // On the session timeline.
  int64_t pts_us = 0;
  int64_t dts_us = 0;
  uint64_t duration_us = 0;
  // As the gateway's clock said, minus session time (0 where they are one).
  int64_t raw_offset_us = 0;
  bool key_frame = false;
  bool discard = false;
  uint32_t skip_start_samples = 0;
  uint32_t skip_end_samples = 0;
  uint32_t payload_bytes = 0;

  friend bool operator==(const PacketInfo&, const PacketInfo&) = default;
};

// A chunk's plaintext: the table, then the Matroska clusters whose blocks
// follow in the table's order (FORMAT.md). Columnar, variable-length integers.
std::string EncodePacketTable(const std::vector<PacketInfo>& packets);

// Puts table and clusters together as a chunk's plaintext.
std::string EncodeChunkBody(const std::vector<PacketInfo>& packets,
                            absl::string_view clusters);

struct ChunkPacket {
  PacketInfo info;
  // Into the chunk body that was decoded.
  absl::string_view payload;
};

struct ChunkBody {
  std::vector<ChunkPacket> packets;
  // Whole clusters, as a player takes them behind the span's header.
  absl::string_view clusters;
};

// Takes a chunk's plaintext apart. `body` must outlive the result. DATA_LOSS,
// naming the packet, if table and clusters do not agree.
absl::StatusOr<ChunkBody> DecodeChunkBody(absl::string_view body);

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_PACKET_TABLE_H_
