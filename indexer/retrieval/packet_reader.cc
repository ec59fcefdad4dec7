#include "indexer/retrieval/packet_reader.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "indexer/retrieval/packet_merger.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_reader.h"

namespace diptych::indexer {

PacketReader::PacketReader(const ReadPlan* plan, SessionReader* session)
    : plan_(plan),
      merger_(
          &plan->chunks,
          [plan](uint32_t span, uint32_t track_id) {
            return plan->output.contains({span, track_id});
          },
          session) {}

void PacketReader::Select(ReadPacket packet, std::vector<ReadPacket>* batch) {
  const auto start = plan_->starts.find(packet.info.track_id);
  if (start == plan_->starts.end()) return;
  TrackState& track = tracks_[packet.info.track_id];
  if (packet.info.pts_us < start->second.pts_us) return;
  if (!track.started) {
    if (start->second.at_key_frame && !packet.info.key_frame) return;
    track.started = true;
  }
  const bool in_range = packet.info.pts_us < plan_->end_us;
  if (!in_range && packet.info.dts_us >= plan_->end_us) return;
  if (!in_range && maybe_bytes_ < limits::kMaxHeldWhileReading_bytes) {
    maybe_bytes_ += packet.payload.size();
    Detach(&packet);
    track.maybe.push_back(std::move(packet));
    return;
  }
  for (ReadPacket& needed : track.maybe) {
    maybe_bytes_ -= needed.payload.size();
    batch->push_back(std::move(needed));
  }
  track.maybe.clear();
  batch->push_back(std::move(packet));
}

absl::StatusOr<std::optional<std::vector<ReadPacket>>>
PacketReader::NextBatch() {
  ASSIGN_OR_RETURN(auto merged, merger_.NextBatch());
  if (!merged.has_value()) return std::nullopt;
  std::vector<ReadPacket> batch;
  for (ChunkedPacket& packet : *merged) {
    const size_t output =
        plan_->output.at({packet.chunk->span, packet.info.track_id});
    Select({std::move(packet), output}, &batch);
  }
  return batch;
}

}  // namespace diptych::indexer
