#include "indexer/retrieval/packet_reader.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_reader.h"

namespace diptych::indexer {
namespace {

// Lets a packet that waits keep its own payload alive and not a whole chunk.
void Detach(ReadPacket* packet) {
  if (packet->chunk_body->size() == packet->payload.size()) return;
  packet->chunk_body =
      std::make_shared<const std::string>(std::string(packet->payload));
  packet->payload = *packet->chunk_body;
}

}  // namespace

bool PacketReader::Later::operator()(const Waiting& a, const Waiting& b) const {
  if (a.packet.info.dts_us != b.packet.info.dts_us) {
    return a.packet.info.dts_us > b.packet.info.dts_us;
  }
  return a.order > b.order;
}

PacketReader::PacketReader(const ReadPlan* plan, SessionReader* session)
    : plan_(plan), session_(session) {}

absl::Status PacketReader::ReadChunk(const ChunkRef& chunk) {
  ASSIGN_OR_RETURN(std::string plaintext, session_->OpenChunk(chunk));
  const auto body = std::make_shared<const std::string>(std::move(plaintext));
  const absl::StatusOr<media::ChunkBody> decoded =
      media::DecodeChunkBody(*body);
  if (!decoded.ok()) return session_->AtChunk(chunk, decoded.status());
  for (const media::ChunkPacket& packet : decoded->packets) {
    const auto output = plan_->output.find({chunk.span, packet.info.track_id});
    if (output == plan_->output.end()) continue;
    waiting_bytes_ += packet.payload.size();
    waiting_.push_back(
        {read_packets_++, {output->second, packet.info, packet.payload, body}});
    std::push_heap(waiting_.begin(), waiting_.end(), Later());
  }
  return absl::OkStatus();
}

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
  if (next_chunk_ == plan_->chunks.size() && waiting_.empty()) {
    return std::nullopt;
  }
  std::vector<ReadPacket> batch;
  if (next_chunk_ < plan_->chunks.size()) {
    RETURN_IF_ERROR(ReadChunk(plan_->chunks[next_chunk_]));
    ++next_chunk_;
  }
  // A packet of a chunk that is still to come has a dts in that chunk's window,
  // or it came late and is sent late.
  const int64_t safe_us = next_chunk_ < plan_->chunks.size()
                              ? plan_->chunks[next_chunk_].window_start_us
                              : INT64_MAX;
  while (!waiting_.empty() &&
         (next_chunk_ == plan_->chunks.size() ||
          waiting_.front().packet.info.dts_us < safe_us ||
          waiting_bytes_ > limits::kMaxHeldWhileReading_bytes)) {
    std::pop_heap(waiting_.begin(), waiting_.end(), Later());
    waiting_bytes_ -= waiting_.back().packet.payload.size();
    Select(std::move(waiting_.back().packet), &batch);
    waiting_.pop_back();
  }
  for (Waiting& waiting : waiting_) Detach(&waiting.packet);
  return batch;
}

}  // namespace diptych::indexer
