#include "indexer/retrieval/packet_merger.h"

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
#include "indexer/retrieval/session_reader.h"
#include "indexer/store/session_media.h"

namespace diptych::indexer {

void Detach(ChunkedPacket* packet) {
  if (packet->chunk_body->size() == packet->payload.size()) return;
  packet->chunk_body =
      std::make_shared<const std::string>(std::string(packet->payload));
  packet->payload = *packet->chunk_body;
}

bool PacketMerger::Later::operator()(const Waiting& a, const Waiting& b) const {
  if (a.packet.info.dts_us != b.packet.info.dts_us) {
    return a.packet.info.dts_us > b.packet.info.dts_us;
  }
  return a.order > b.order;
}

PacketMerger::PacketMerger(const std::vector<ChunkRef>* chunks, Wanted wanted,
                           SessionReader* session)
    : chunks_(chunks), wanted_(std::move(wanted)), session_(session) {}

absl::Status PacketMerger::ReadChunk(const ChunkRef& chunk) {
  ASSIGN_OR_RETURN(std::string plaintext, session_->OpenChunk(chunk));
  const auto body = std::make_shared<const std::string>(std::move(plaintext));
  const absl::StatusOr<media::ChunkBody> decoded =
      media::DecodeChunkBody(*body);
  if (!decoded.ok()) return session_->AtChunk(chunk, decoded.status());
  for (const media::ChunkPacket& packet : decoded->packets) {
    if (!wanted_(chunk.span, packet.info.track_id)) continue;
    waiting_bytes_ += packet.payload.size();
    waiting_.push_back(
        {read_packets_++, {&chunk, packet.info, packet.payload, body}});
    std::push_heap(waiting_.begin(), waiting_.end(), Later());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::vector<ChunkedPacket>>>
PacketMerger::NextBatch() {
  if (next_chunk_ == chunks_->size() && waiting_.empty()) return std::nullopt;
  std::vector<ChunkedPacket> batch;
  if (next_chunk_ < chunks_->size()) {
    RETURN_IF_ERROR(ReadChunk((*chunks_)[next_chunk_]));
    ++next_chunk_;
  }
  // A packet of a chunk that is still to come has a dts in that chunk's window,
  // or it came late and is sent late.
  const int64_t safe_us = next_chunk_ < chunks_->size()
                              ? (*chunks_)[next_chunk_].window_start_us
                              : INT64_MAX;
  while (!waiting_.empty() &&
         (next_chunk_ == chunks_->size() ||
          waiting_.front().packet.info.dts_us < safe_us ||
          waiting_bytes_ > limits::kMaxHeldWhileReading_bytes)) {
    std::pop_heap(waiting_.begin(), waiting_.end(), Later());
    waiting_bytes_ -= waiting_.back().packet.payload.size();
    batch.push_back(std::move(waiting_.back().packet));
    waiting_.pop_back();
  }
  for (Waiting& waiting : waiting_) Detach(&waiting.packet);
  return batch;
}

}  // namespace diptych::indexer
