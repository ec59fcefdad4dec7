#ifndef INDEXER_RETRIEVAL_PACKET_READER_H_
#define INDEXER_RETRIEVAL_PACKET_READER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "indexer/retrieval/packet_merger.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_reader.h"

namespace diptych::indexer {

struct ReadPacket : ChunkedPacket {
  // Into ReadPlan::tracks.
  size_t output_track = 0;
};

// The packets of a plan that are in its range, in PacketMerger's order. Not
// thread-safe.
class PacketReader {
 public:
  // `plan` and `session` must outlive it.
  PacketReader(const ReadPlan* plan, SessionReader* session);

  // As PacketMerger::NextBatch.
  absl::StatusOr<std::optional<std::vector<ReadPacket>>> NextBatch();

 private:
  // What a track is at in decoding order.
  struct TrackState {
    bool started = false;
    // Not in the range by their pts, but a later packet may need them.
    std::vector<ReadPacket> maybe;
  };

  // Appends `packet` to `batch` if it is in the range.
  void Select(ReadPacket packet, std::vector<ReadPacket>* batch);

  const ReadPlan* const plan_;
  PacketMerger merger_;
  size_t maybe_bytes_ = 0;
  std::map<uint32_t, TrackState> tracks_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_PACKET_READER_H_
