#ifndef INDEXER_RETRIEVAL_PACKET_READER_H_
#define INDEXER_RETRIEVAL_PACKET_READER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_reader.h"

namespace diptych::indexer {

struct ReadPacket {
  // Into ReadPlan::tracks.
  size_t output_track = 0;
  media::PacketInfo info;
  // Into `chunk_body`.
  absl::string_view payload;
  std::shared_ptr<const std::string> chunk_body;
};

// The packets of a plan, in the order of their dts over all tracks and chunks,
// and within a track always in the order in which they were recorded. Holds as
// little as that takes: usually one chunk. Not thread-safe.
class PacketReader {
 public:
  // `plan` and `session` must outlive it.
  PacketReader(const ReadPlan* plan, SessionReader* session);

  // Reads, verifies and decrypts one more chunk and returns what can go out by
  // then, which may be nothing; nullopt at the end. Errors as
  // SessionReader::OpenChunk; none goes away by calling again.
  absl::StatusOr<std::optional<std::vector<ReadPacket>>> NextBatch();

 private:
  struct Waiting {
    // Over all packets read.
    uint64_t order = 0;
    ReadPacket packet;
  };
  struct Later {
    bool operator()(const Waiting& a, const Waiting& b) const;
  };
  // What a track is at in decoding order.
  struct TrackState {
    bool started = false;
    // Not in the range by their pts, but a later packet may need them.
    std::vector<ReadPacket> maybe;
  };

  absl::Status ReadChunk(const ChunkRef& chunk);
  // Appends `packet` to `batch` if it is in the range.
  void Select(ReadPacket packet, std::vector<ReadPacket>* batch);

  const ReadPlan* const plan_;
  SessionReader* const session_;
  size_t next_chunk_ = 0;
  uint64_t read_packets_ = 0;
  size_t waiting_bytes_ = 0;
  size_t maybe_bytes_ = 0;
  // A heap, the earliest in front.
  std::vector<Waiting> waiting_;
  std::map<uint32_t, TrackState> tracks_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_PACKET_READER_H_
