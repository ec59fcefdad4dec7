#include "indexer/retrieval/clip_recorder.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/media/canonical.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/packet_merger.h"
#include "indexer/retrieval/packet_reader.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/source_runs.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

ClipRecorder::ClipRecorder(
    const ReadPlan* plan, const base::Uuid& session_id,
    const std::map<uint32_t, std::vector<SignedRun>>& statements,
    TrackSalt track_salt)
    : plan_(plan),
      session_id_(session_id.bytes()),
      track_salt_(std::move(track_salt)) {
  for (const ChunkRef& chunk : plan->chunks) chunks_.insert(chunk.chunk);
  for (const stored::v1::Track& track : plan->tracks) {
    const auto start = plan->starts.find(track.track_id());
    if (start == plan->starts.end()) continue;
    const auto known = statements.find(track.track_id());
    tracks_.try_emplace(
        track.track_id(), start->second,
        media::IsVideo(static_cast<api::v1::Codec>(track.codec())),
        known == statements.end() ? std::vector<SignedRun>() : known->second);
  }
}

absl::Status ClipRecorder::BeginChunk(const ChunkRef& chunk, uint32_t track_id,
                                      Track* track) const {
  track->chunk = &chunk;
  track->chunk_begin = track->added;
  track->leaf = evidence::TrackLeaf();
  if (track->state == State::kBefore) {
    track->before.clear();
    track->raw_ms.clear();
  }
  if (track->track_salt.empty() || track->salt_segment != chunk.segment) {
    ASSIGN_OR_RETURN(track->track_salt, track_salt_(chunk, track_id));
    track->salt_segment = chunk.segment;
  }
  track->chunk_salt = evidence::ChunkSalt(track->track_salt, chunk.chunk);
  return absl::OkStatus();
}

void ClipRecorder::EndChunk(uint32_t track_id, Track* track) const {
  const ChunkRef* chunk = track->chunk;
  if (chunk == nullptr || track->state == State::kBefore) return;
  // What follows the last chunk that is played is in no pair of the bundle.
  if (track->state == State::kEnded && chunk != track->last_played_chunk) {
    return;
  }
  if (track->runs.empty() || track->runs.back().segment != chunk->segment) {
    PairRun run;
    run.segment = chunk->segment;
    run.span = chunk->span;
    run.epoch = chunk->epoch;
    const auto output = plan_->output.find({chunk->span, track_id});
    if (output != plan_->output.end()) run.stream = output->second;
    track->runs.push_back(std::move(run));
  }
  track->runs.back().pairs.push_back(
      {chunk->chunk, track->added - track->chunk_begin,
       track->leaf.Finish(track->chunk_salt, session_id_, chunk->chunk,
                          track_id)});
  if (chunk == track->last_played_chunk) {
    track->sources.Include(track->begin, track->added);
  }
}

void ClipRecorder::AddLine(const ChunkedPacket& packet, Track* track) {
  evidence::PacketLine line;
  line.pts_ms = evidence::ToMs(packet.info.pts_us);
  line.key_frame = track->video && packet.info.key_frame;
  line.payload_bytes = static_cast<uint32_t>(packet.payload.size());
  line.payload_sha256 = base::Sha256(packet.payload);
  track->leaf.Add(line);
  const int64_t raw_ms =
      evidence::ToMs(packet.info.pts_us + packet.info.raw_offset_us);
  if (track->state != State::kEnded ||
      packet.chunk == track->last_played_chunk) {
    track->raw_ms.push_back(raw_ms - line.pts_ms);
  }
  line.pts_ms = raw_ms;
  track->sources.Add(packet.info.sequence, evidence::LeafHash(line.Bytes()));
  ++track->added;
}

absl::Status ClipRecorder::Play(ChunkedPacket packet, Track* track,
                                std::vector<ReadPacket>* played) {
  const auto output =
      plan_->output.find({packet.chunk->span, packet.info.track_id});
  if (output == plan_->output.end()) {
    return absl::InternalError(absl::StrCat("chunk ", packet.chunk->chunk,
                                            " has no place in the clip"));
  }
  track->last_played_chunk = packet.chunk;
  played->push_back({std::move(packet), output->second});
  return absl::OkStatus();
}

absl::Status ClipRecorder::Take(ChunkedPacket packet,
                                std::vector<ReadPacket>* played) {
  const uint32_t track_id = packet.info.track_id;
  const auto found = tracks_.find(track_id);
  if (found == tracks_.end()) return absl::OkStatus();
  Track* track = &found->second;
  if (track->added > 0 && packet.info.sequence <= track->last_sequence) {
    return absl::InternalError(
        absl::StrCat("packet ", packet.info.sequence, " of track ", track_id,
                     " does not follow the one before it"));
  }
  track->last_sequence = packet.info.sequence;
  if (packet.chunk != track->chunk) {
    EndChunk(track_id, track);
    RETURN_IF_ERROR(BeginChunk(*packet.chunk, track_id, track));
  }
  AddLine(packet, track);

  const bool in_plan = chunks_.contains(packet.chunk->chunk);
  const bool in_range = in_plan && packet.info.pts_us < plan_->end_us;
  switch (track->state) {
    case State::kBefore:
      if (in_range && packet.info.pts_us >= track->start.pts_us &&
          (!track->start.at_key_frame || packet.info.key_frame)) {
        track->state = State::kPlaying;
        track->begin = track->chunk_begin;
        return Play(std::move(packet), track, played);
      }
      Detach(&packet);
      track->before.push_back(std::move(packet));
      return absl::OkStatus();
    case State::kPlaying:
      if (in_range ||
          (in_plan && tail_bytes_ > limits::kMaxHeldWhileReading_bytes)) {
        for (ChunkedPacket& waited : track->tail) {
          tail_bytes_ -= waited.payload.size();
          RETURN_IF_ERROR(Play(std::move(waited), track, played));
        }
        track->tail.clear();
        return Play(std::move(packet), track, played);
      }
      // No picture in the range needs what is decoded after it.
      if (!in_plan || packet.info.dts_us >= plan_->end_us) {
        track->state = State::kEnded;
      }
      break;
    case State::kEnded:
      if (packet.chunk != track->last_played_chunk) return absl::OkStatus();
      break;
  }
  Detach(&packet);
  tail_bytes_ += packet.payload.size();
  track->tail.push_back(std::move(packet));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TrackClip>> ClipRecorder::Finish() {
  std::vector<TrackClip> clips;
  for (auto& [track_id, track] : tracks_) {
    if (track.last_played_chunk == nullptr) continue;
    EndChunk(track_id, &track);
    // Chunks that were looked at for a picture that did not come.
    while (track.runs.back().pairs.back().chunk !=
           track.last_played_chunk->chunk) {
      track.runs.back().pairs.pop_back();
      if (track.runs.back().pairs.empty()) track.runs.pop_back();
      if (track.runs.empty()) {
        return absl::InternalError("a clip's last chunk is not in it");
      }
    }
    TrackClip clip;
    clip.track_id = track_id;
    clip.before = std::move(track.before);
    for (ChunkedPacket& packet : track.tail) {
      if (packet.chunk == track.last_played_chunk) {
        clip.after.push_back(std::move(packet));
      }
    }
    uint64_t packets = 0;
    for (const PairRun& run : track.runs) {
      for (const Pair& pair : run.pairs) packets += pair.packets;
    }
    track.runs.front().before = clip.before.size();
    track.runs.back().after = clip.after.size();
    clip.runs = std::move(track.runs);
    track.sources.Include(track.begin, track.begin + packets);
    clip.sources = track.sources.Finish();
    track.raw_ms.resize(packets);
    clip.raw_ms = std::move(track.raw_ms);
    clips.push_back(std::move(clip));
  }
  return clips;
}

}  // namespace diptych::indexer
