#ifndef INDEXER_RETRIEVAL_CLIP_RECORDER_H_
#define INDEXER_RETRIEVAL_CLIP_RECORDER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/digest.h"
#include "indexer/retrieval/packet_merger.h"
#include "indexer/retrieval/packet_reader.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/source_runs.h"
#include "indexer/store/session_media.h"

namespace diptych::indexer {

// The packets of one track in one chunk.
struct Pair {
  uint32_t chunk = 0;
  uint64_t packets = 0;
  // As the chunk's packets give it.
  std::string leaf;
};

// Consecutive chunks of one track in one segment.
struct PairRun {
  uint32_t segment = 0;
  uint32_t span = 0;
  uint64_t epoch = 0;
  // Of the media file.
  size_t stream = 0;
  std::vector<Pair> pairs;
  // Packets at the run's two ends that the media file has not.
  uint64_t before = 0;
  uint64_t after = 0;
};

// One track of a bundle: whole pairs, from the one with the first packet that
// is played to the one with the last.
struct TrackClip {
  uint32_t track_id = 0;
  // In the order of the segments; not empty.
  std::vector<PairRun> runs;
  std::vector<SourceRun> sources;
  // Of each packet: the gateway's time in milliseconds minus that of the
  // session.
  std::vector<int64_t> raw_ms;
  // What belongs to the first run's beginning and the last one's end.
  std::vector<ChunkedPacket> before;
  std::vector<ChunkedPacket> after;
};

// Cuts a clip out of packets that go by, and keeps what proves it. Within a
// track the media file gets one run of packets without a hole: also those that
// come before the picture at which the clip begins is shown. Holds packets of
// at most the tracks' first and last chunks, and what a later picture may need.
// Not thread-safe.
class ClipRecorder {
 public:
  // The salt of a track in the chunk's segment.
  using TrackSalt = std::function<absl::StatusOr<std::string>(
      const ChunkRef& chunk, uint32_t track_id)>;

  // `plan` must outlive it. `statements` by track id.
  ClipRecorder(const ReadPlan* plan, const base::Uuid& session_id,
               const std::map<uint32_t, std::vector<SignedRun>>& statements,
               TrackSalt track_salt);

  // Takes a packet of a wanted track, in PacketMerger's order, also of chunks
  // around the plan's, and appends to `played` what the media file gets next.
  // Errors of the salts; INTERNAL if a track's packets are out of order.
  absl::Status Take(ChunkedPacket packet, std::vector<ReadPacket>* played);

  // After the last packet. Tracks of which nothing is played are left out. Call
  // once.
  absl::StatusOr<std::vector<TrackClip>> Finish();

 private:
  enum class State { kBefore, kPlaying, kEnded };

  struct Track {
    Track(TrackStart track_start, bool is_video,
          std::vector<SignedRun> statements)
        : start(track_start), video(is_video), sources(std::move(statements)) {}

    const TrackStart start;
    const bool video;
    State state = State::kBefore;
    uint64_t last_sequence = 0;
    uint64_t added = 0;
    SourceRuns sources;
    // The chunk at hand, and which packet was its first.
    const ChunkRef* chunk = nullptr;
    uint64_t chunk_begin = 0;
    evidence::TrackLeaf leaf;
    std::string chunk_salt;
    uint32_t salt_segment = 0;
    std::string track_salt;
    // Since the chunk that the clip begins in.
    std::vector<PairRun> runs;
    uint64_t begin = 0;
    std::vector<int64_t> raw_ms;
    std::vector<ChunkedPacket> before;
    // Behind the last packet that is played.
    std::vector<ChunkedPacket> tail;
    const ChunkRef* last_played_chunk = nullptr;
  };

  // Tells the chunk of the packets that follow.
  absl::Status BeginChunk(const ChunkRef& chunk, uint32_t track_id,
                          Track* track) const;
  void EndChunk(uint32_t track_id, Track* track) const;
  static void AddLine(const ChunkedPacket& packet, Track* track);
  absl::Status Play(ChunkedPacket packet, Track* track,
                    std::vector<ReadPacket>* played);

  const ReadPlan* const plan_;
  const std::string session_id_;
  const TrackSalt track_salt_;
  std::set<uint32_t> chunks_;
  std::map<uint32_t, Track> tracks_;
  size_t tail_bytes_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_CLIP_RECORDER_H_
