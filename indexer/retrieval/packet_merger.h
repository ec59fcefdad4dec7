#ifndef INDEXER_RETRIEVAL_PACKET_MERGER_H_
#define INDEXER_RETRIEVAL_PACKET_MERGER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/store/session_media.h"

namespace diptych::indexer {

// A packet as it lies in its chunk.
struct ChunkedPacket {
  const ChunkRef* chunk = nullptr;
  media::PacketInfo info;
  // Into `chunk_body`.
  absl::string_view payload;
  std::shared_ptr<const std::string> chunk_body;
};

// Lets a packet that waits keep its own payload alive and not a whole chunk.
void Detach(ChunkedPacket* packet);

// The packets of chunks, in the order of their dts over all tracks and chunks,
// and within a track always in the order in which they were recorded. Holds as
// little as that takes: usually one chunk. Not thread-safe.
class PacketMerger {
 public:
  // Whether the packets of a track in a span are wanted.
  using Wanted = std::function<bool(uint32_t span, uint32_t track_id)>;

  // `chunks`, by the beginning of their windows, and `session` must outlive it
  // and what it gives.
  PacketMerger(const std::vector<ChunkRef>* chunks, Wanted wanted,
               SessionReader* session);

  // Reads, verifies and decrypts one more chunk and returns what can go out by
  // then, which may be nothing; nullopt at the end. Errors as
  // SessionReader::OpenChunk; none goes away by calling again.
  absl::StatusOr<std::optional<std::vector<ChunkedPacket>>> NextBatch();

 private:
  struct Waiting {
    // Over all packets read.
    uint64_t order = 0;
    ChunkedPacket packet;
  };
  struct Later {
    bool operator()(const Waiting& a, const Waiting& b) const;
  };

  absl::Status ReadChunk(const ChunkRef& chunk);

  const std::vector<ChunkRef>* const chunks_;
  const Wanted wanted_;
  SessionReader* const session_;
  size_t next_chunk_ = 0;
  uint64_t read_packets_ = 0;
  size_t waiting_bytes_ = 0;
  // A heap, the earliest in front.
  std::vector<Waiting> waiting_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_PACKET_MERGER_H_
