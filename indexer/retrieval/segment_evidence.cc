#include "indexer/retrieval/segment_evidence.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/log/record.h"
#include "archiver/seal/ratchet.h"
#include "indexer/retrieval/bundle_evidence.h"
#include "indexer/retrieval/clip_recorder.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

// What a chunk's header says of the track.
absl::StatusOr<std::string> LeafInHeader(uint32_t chunk, uint32_t track_id,
                                         const SessionReader& session) {
  const auto& chunks = session.media().chunks;
  const auto ref =
      std::find_if(chunks.begin(), chunks.end(),
                   [&](const ChunkRef& c) { return c.chunk == chunk; });
  if (ref == chunks.end()) {
    return base::IntegrityError(
        absl::StrCat("the index does not know chunk ", chunk));
  }
  ASSIGN_OR_RETURN(const log::StoredRecord record,
                   session.Record({log::RecordType::kChunk, ref->position}));
  stored::v1::Chunk header;
  if (header.ParseFromString(record.header) && header.chunk() == chunk) {
    for (const stored::v1::ChunkTrack& track : header.tracks()) {
      if (track.track_id() == track_id) return track.leaf();
    }
  }
  return session.AtChunk(
      *ref, base::IntegrityError(
                absl::StrCat("its header has no leaf of track ", track_id)));
}

absl::StatusOr<EvidenceRun> ProveRun(const stored::v1::Segment& manifest,
                                     uint32_t track_id, const PairRun& run,
                                     SessionReader* session) {
  const auto wrong = [&](absl::string_view what) {
    return base::IntegrityError(absl::StrCat(
        "session ", session->media().session_id.ToString(), ", track ",
        track_id, " of segment ", run.segment, " ", what));
  };
  const auto& tracks = manifest.tracks();
  const auto track =
      std::find_if(tracks.begin(), tracks.end(), [&](const auto& of_segment) {
        return of_segment.track_id() == track_id;
      });
  if (track == tracks.end()) return wrong("is not in the manifest");
  std::vector<uint32_t> chunks(track->chunks().begin(), track->chunks().end());
  if (chunks.empty()) {
    for (const auto& chunk : manifest.chunks()) chunks.push_back(chunk.chunk());
  }
  const auto first =
      std::find(chunks.begin(), chunks.end(), run.pairs.front().chunk);
  const bool in_order =
      static_cast<size_t>(chunks.end() - first) >= run.pairs.size() &&
      std::equal(
          run.pairs.begin(), run.pairs.end(), first,
          [](const Pair& pair, uint32_t chunk) { return pair.chunk == chunk; });
  if (!in_order) return wrong("has other chunks than the manifest says");

  EvidenceRun proven;
  proven.track_id = track_id;
  proven.run = &run;
  proven.first = static_cast<uint64_t>(first - chunks.begin());
  ASSIGN_OR_RETURN(
      proven.track_salt,
      session->Salt(stored::v1::KEY_CLASS_MEDIA, run.epoch, run.segment,
                    seal::SaltKind::kTrack, track_id));
  std::vector<std::string> hashes;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const size_t in_run = i - static_cast<size_t>(proven.first);
    std::string leaf;
    if (i >= proven.first && in_run < run.pairs.size()) {
      leaf = run.pairs[in_run].leaf;
    } else {
      ASSIGN_OR_RETURN(leaf, LeafInHeader(chunks[i], track_id, *session));
    }
    hashes.push_back(evidence::LeafHash(leaf));
  }
  if (evidence::RootOf(hashes) != track->root()) {
    return wrong("has other packets than the manifest says");
  }
  if (run.pairs.size() < chunks.size()) {
    for (const Pair& pair : run.pairs) {
      proven.salts.push_back(
          evidence::ChunkSalt(proven.track_salt, pair.chunk));
    }
    proven.track_salt.clear();
    proven.others = evidence::ProveRange(
        hashes, static_cast<size_t>(proven.first), run.pairs.size());
  }
  return proven;
}

}  // namespace

absl::StatusOr<std::vector<EvidenceRun>> ProveRuns(
    uint32_t segment, absl::string_view manifest_header,
    const std::vector<TrackClip>& clips, SessionReader* session) {
  stored::v1::Segment manifest;
  if (!manifest.ParseFromString(std::string(manifest_header)) ||
      manifest.segment() != segment) {
    return base::IntegrityError(
        absl::StrCat("session ", session->media().session_id.ToString(),
                     ": the manifest of segment ", segment, " is another's"));
  }
  std::vector<EvidenceRun> runs;
  for (const TrackClip& clip : clips) {
    for (const PairRun& run : clip.runs) {
      if (run.segment != segment) continue;
      ASSIGN_OR_RETURN(EvidenceRun proven,
                       ProveRun(manifest, clip.track_id, run, session));
      runs.push_back(std::move(proven));
    }
  }
  return runs;
}

}  // namespace diptych::indexer
