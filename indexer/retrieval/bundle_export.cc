#include "indexer/retrieval/bundle_export.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/record.h"
#include "archiver/seal/ratchet.h"
#include "indexer/retrieval/bundle_disclosure.h"
#include "indexer/retrieval/bundle_evidence.h"
#include "indexer/retrieval/bundle_proofs.h"
#include "indexer/retrieval/clip_recorder.h"
#include "indexer/retrieval/export_messages.h"
#include "indexer/retrieval/packet_merger.h"
#include "indexer/retrieval/packet_reader.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/remuxer.h"
#include "indexer/retrieval/segment_evidence.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/retrieval/source_runs.h"
#include "indexer/retrieval/stream_description.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using log::RecordType;

constexpr int64_t kMillisecond_us = 1000;

int64_t FloorToMs_us(int64_t us) {
  const int64_t rest = us % kMillisecond_us;
  return us - rest - (rest < 0 ? kMillisecond_us : 0);
}

// The session's records as they were when the access was recorded: what the
// checkpoint that has the access record is sure to have.
absl::StatusOr<SessionRecords> AwaitRecords(const BundleRequest& request,
                                            const MediaIndex& index,
                                            BundleReceiver* receiver) {
  const absl::Time until = absl::Now() + limits::kCheckpointWait;
  while (true) {
    RETURN_IF_ERROR(receiver->Flush());
    ASSIGN_OR_RETURN(SessionRecords records,
                     index.GetSessionRecords(request.session_id));
    if (records.indexed > request.access_position) {
      const log::Position end = request.access_position;
      auto& manifests = records.manifests;
      manifests.erase(std::remove_if(manifests.begin(), manifests.end(),
                                     [&](const ManifestRef& m) {
                                       return m.position > end;
                                     }),
                      manifests.end());
      if (records.closed > end) records.closed.reset();
      return records;
    }
    if (absl::Now() >= until) {
      api::v1::ErrorDetail detail;
      detail.set_reason("INDEX_BEHIND");
      detail.set_retryable(true);
      return base::MakeError(absl::StatusCode::kUnavailable,
                             "the index is behind the log: try again", detail);
    }
    absl::SleepFor(limits::kBundlePoll);
  }
}

std::vector<ChunkRef> ProvenChunks(const std::vector<ChunkRef>& chunks,
                                   const SessionRecords& records) {
  std::set<uint32_t> segments;
  for (const ManifestRef& m : records.manifests) segments.insert(m.segment);
  std::vector<ChunkRef> proven;
  for (const ChunkRef& chunk : chunks) {
    if (segments.contains(chunk.segment)) proven.push_back(chunk);
  }
  return proven;
}

using Statements = std::map<uint32_t, std::vector<SignedRun>>;

// The plan's chunks and those with the other packets of the statements that
// sign packets of the plan's.
std::vector<ChunkRef> ChunksToRead(const ReadPlan& plan,
                                   const std::vector<ChunkRef>& all,
                                   const Statements& statements) {
  struct Numbers {
    uint64_t first = std::numeric_limits<uint64_t>::max();
    uint64_t last = 0;
    void Widen(uint64_t from, uint64_t to) {
      first = std::min(first, from);
      last = std::max(last, to);
    }
    bool Meets(uint64_t from, uint64_t to) const {
      return from <= last && first <= to;
    }
  };
  std::map<stored::v1::Side, Numbers> in_plan;
  for (const ChunkRef& chunk : plan.chunks) {
    for (const SequenceRange& side : chunk.sides) {
      in_plan[side.side].Widen(side.first, side.last);
    }
  }
  std::map<stored::v1::Side, Numbers> wanted;
  for (const stored::v1::Track& track : plan.tracks) {
    const auto of_track = statements.find(track.track_id());
    const auto numbers = in_plan.find(track.side());
    if (of_track == statements.end() || numbers == in_plan.end()) continue;
    for (const SignedRun& run : of_track->second) {
      if (numbers->second.Meets(run.first_sequence, run.last_sequence)) {
        wanted[track.side()].Widen(run.first_sequence, run.last_sequence);
      }
    }
  }
  std::set<uint32_t> planned;
  for (const ChunkRef& chunk : plan.chunks) planned.insert(chunk.chunk);
  std::vector<ChunkRef> chunks;
  for (const ChunkRef& chunk : all) {
    const bool has_signed = std::any_of(
        chunk.sides.begin(), chunk.sides.end(), [&](const SequenceRange& side) {
          const auto numbers = wanted.find(side.side);
          return numbers != wanted.end() &&
                 numbers->second.Meets(side.first, side.last);
        });
    if (has_signed || planned.contains(chunk.chunk)) chunks.push_back(chunk);
  }
  std::stable_sort(chunks.begin(), chunks.end(),
                   [](const ChunkRef& a, const ChunkRef& b) {
                     return a.window_start_us < b.window_start_us;
                   });
  return chunks;
}

class Exporter {
 public:
  Exporter(const BundleRequest& request, const SealedArchive& archive,
           const LogTree& tree, SessionRecords records,
           std::vector<ChunkRef> all_chunks, SessionMedia proven,
           BundleReceiver* receiver)
      : request_(request),
        tree_(tree),
        records_(std::move(records)),
        all_chunks_(std::move(all_chunks)),
        session_(archive, std::move(proven)),
        receiver_(receiver) {
    evidence_.archive_id = archive.archive_id;
    evidence_.session_id = request.session_id;
    evidence_.start_time_us = session_.media().start_time_us;
    const bool mp4 = request.container == api::v1::CONTAINER_MP4;
    evidence_.media_file = mp4 ? "media.mp4" : "media.mkv";
    evidence_.container = mp4 ? "mp4" : "matroska";
  }

  absl::StatusOr<api::v1::ReadFinished> Run();

 private:
  absl::Status SendMedia();
  // Hands the file `pending_`, beginning it if it is not.
  absl::Status SendPending();
  absl::Status BeginMedia();
  absl::Status SendBoundary();
  absl::Status Disclose();
  absl::Status GatherManifests();
  absl::Status Prove();
  absl::Status SendEvidence();
  absl::Status SendFile(const std::string& path, absl::string_view bytes) {
    return receiver_->Write(path, 0, bytes);
  }
  // A record that is a leaf of the log tree, as it lies there.
  absl::StatusOr<ProvenRecord> ReadLeaf(const RecordRef& ref) const;
  absl::Status ProveLeaf(RecordType type, absl::string_view name,
                         BundleProofs* proofs, ProvenRecord* record);

  const BundleRequest& request_;
  const LogTree& tree_;
  const SessionRecords records_;
  const std::vector<ChunkRef> all_chunks_;
  SessionReader session_;
  BundleReceiver* const receiver_;
  ReadPlan plan_;
  BundleEvidence evidence_;
  std::unique_ptr<Remuxer> remuxer_;
  // What waits for the media's beginning to be known.
  std::vector<ReadPacket> pending_;
  ExportTotals totals_;
};

absl::Status Exporter::BeginMedia() {
  RemuxOptions options;
  options.container = request_.container;
  options.tracks = plan_.tracks;
  options.session_start_us = session_.media().start_time_us;
  options.whole_milliseconds = true;
  if (request_.range.from_us) {
    // Pictures that are decoded before the first one and shown before it count
    // too.
    int64_t begin_us = plan_.from_us;
    for (const ReadPacket& packet : pending_) {
      begin_us = std::min(begin_us, packet.info.pts_us);
    }
    options.origin_us = FloorToMs_us(begin_us);
  }
  evidence_.origin_us = options.origin_us;
  RETURN_IF_ERROR(receiver_->Start(ToReadStarted(plan_, options.origin_us)));
  ASSIGN_OR_RETURN(
      remuxer_, Remuxer::Create(options, [this](uint64_t offset,
                                                absl::string_view bytes) {
        return receiver_->Write(evidence_.media_file, offset, bytes);
      }));
  return absl::OkStatus();
}

absl::Status Exporter::SendPending() {
  if (pending_.empty()) return absl::OkStatus();
  if (remuxer_ == nullptr) RETURN_IF_ERROR(BeginMedia());
  for (const ReadPacket& packet : pending_) {
    RETURN_IF_ERROR(
        remuxer_->Write(packet.output_track, packet.info, packet.payload));
    totals_.Add(packet.output_track, packet.payload.size());
  }
  pending_.clear();
  return remuxer_->Flush();
}

absl::Status Exporter::SendMedia() {
  ASSIGN_OR_RETURN(const Statements statements,
                   ReadStatements(records_, session_));
  const std::vector<ChunkRef> chunks =
      ChunksToRead(plan_, all_chunks_, statements);
  std::set<uint32_t> wanted;
  for (const stored::v1::Track& track : plan_.tracks) {
    wanted.insert(track.track_id());
    evidence_.tracks.try_emplace(track.track_id(), track);
  }
  totals_ = ExportTotals(plan_);
  ClipRecorder recorder(&plan_, request_.session_id, statements,
                        [this](const ChunkRef& chunk, uint32_t track_id) {
                          return session_.Salt(
                              stored::v1::KEY_CLASS_MEDIA, chunk.epoch,
                              chunk.segment, seal::SaltKind::kTrack, track_id);
                        });
  PacketMerger merger(
      &chunks,
      [&wanted](uint32_t, uint32_t track_id) {
        return wanted.contains(track_id);
      },
      &session_);
  while (true) {
    ASSIGN_OR_RETURN(auto batch, merger.NextBatch());
    if (!batch.has_value()) break;
    bool origin_known = remuxer_ != nullptr;
    for (ChunkedPacket& packet : *batch) {
      // What comes from here on in decoding order is shown no earlier.
      origin_known |= packet.info.dts_us >= plan_.from_us;
      RETURN_IF_ERROR(recorder.Take(std::move(packet), &pending_));
    }
    if (origin_known) {
      RETURN_IF_ERROR(SendPending());
    } else {
      for (ReadPacket& packet : pending_) Detach(&packet);
    }
    RETURN_IF_ERROR(receiver_->Flush());
  }
  RETURN_IF_ERROR(SendPending());
  if (remuxer_ == nullptr) {
    return absl::OutOfRangeError("the session has no packet in the range");
  }
  RETURN_IF_ERROR(remuxer_->Finish());
  ASSIGN_OR_RETURN(evidence_.clips, recorder.Finish());
  // The recorder's packets point into `chunks`, which goes.
  for (TrackClip& clip : evidence_.clips) {
    for (ChunkedPacket& packet : clip.before) packet.chunk = nullptr;
    for (ChunkedPacket& packet : clip.after) packet.chunk = nullptr;
  }
  return receiver_->Flush();
}

absl::Status Exporter::SendBoundary() {
  uint64_t offset = 0;
  return WriteBoundary(evidence_, [&](absl::string_view bytes) {
    const absl::Status status = receiver_->Write("boundary.bin", offset, bytes);
    offset += bytes.size();
    return status;
  });
}

absl::Status Exporter::Disclose() {
  DisclosureScope scope;
  scope.whole_session = plan_.whole_session;
  scope.from_us = plan_.from_us;
  scope.to_us = plan_.to_us;
  scope.from_start = !request_.range.from_us.has_value();
  scope.to_end = !request_.range.to_us.has_value();
  for (const stored::v1::Track& track : plan_.tracks) {
    scope.tracks.insert(track.track_id());
    scope.sides.insert(track.side());
  }
  for (const ChunkRef& chunk : plan_.chunks) scope.spans.insert(chunk.span);
  for (const TrackClip& clip : evidence_.clips) {
    for (const PairRun& run : clip.runs) scope.spans.insert(run.span);
    for (const SourceRun& run : clip.sources) {
      if (run.record) scope.statements.insert(*run.record);
    }
  }
  ASSIGN_OR_RETURN(evidence_.disclosed,
                   indexer::Disclose(
                       scope, records_, session_.media().chunks,
                       [this](const std::string& path, uint64_t offset,
                              absl::string_view bytes) -> absl::Status {
                         RETURN_IF_ERROR(receiver_->Write(path, offset, bytes));
                         return receiver_->Flush();
                       },
                       &session_));
  return absl::OkStatus();
}

absl::StatusOr<ProvenRecord> Exporter::ReadLeaf(const RecordRef& ref) const {
  ASSIGN_OR_RETURN(log::StoredRecord record, session_.Record(ref));
  ProvenRecord leaf;
  leaf.header = std::move(record.header);
  if (!record.body.empty()) leaf.body_sha256 = base::Sha256(record.body);
  leaf.position = ref.position;
  return leaf;
}

absl::Status Exporter::GatherManifests() {
  // By place in the chain.
  std::set<size_t> needed;
  std::map<uint32_t, size_t> by_segment;
  for (size_t i = 0; i < records_.manifests.size(); ++i) {
    by_segment[records_.manifests[i].segment] = i;
  }
  std::set<uint32_t> segments;
  for (const ChunkRef& chunk : plan_.chunks) segments.insert(chunk.segment);
  for (const TrackClip& clip : evidence_.clips) {
    for (const PairRun& run : clip.runs) segments.insert(run.segment);
  }
  for (const uint32_t segment : segments) needed.insert(by_segment.at(segment));
  const NamedBy named_by = NameRecords(records_);
  std::map<log::Position, uint32_t> segment_of_chunk;
  for (const ChunkRef& chunk : session_.media().chunks) {
    segment_of_chunk[chunk.position] = chunk.segment;
  }
  for (const auto& [position, record] : evidence_.disclosed.records) {
    const auto chunk = segment_of_chunk.find(position);
    const size_t by = chunk != segment_of_chunk.end()
                          ? by_segment.at(chunk->second)
                          : named_by.at(position);
    if (by < records_.manifests.size()) needed.insert(by);
  }
  // A small hole is cheaper filled than the proof that it would need.
  std::set<size_t> filled = needed;
  for (auto at = needed.begin(); std::next(at) != needed.end(); ++at) {
    const size_t next = *std::next(at);
    if (next - *at - 1 > limits::kMaxBundleHole_manifests) continue;
    for (size_t i = *at + 1; i < next; ++i) filled.insert(i);
  }
  std::map<size_t, size_t> places;
  for (const size_t i : filled) {
    places[i] = evidence_.manifests.size();
    ASSIGN_OR_RETURN(
        ProvenRecord manifest,
        ReadLeaf({RecordType::kSegment, records_.manifests[i].position}));
    // The next one names it.
    if (!filled.contains(i + 1)) {
      manifest.proof = absl::StrCat(
          "proofs/manifest-", records_.manifests[i].segment, ".tlog-proof");
    }
    evidence_.manifests.push_back(std::move(manifest));
  }
  for (const uint32_t segment : segments) {
    EvidenceSegment of_segment;
    of_segment.manifest = places.at(by_segment.at(segment));
    ASSIGN_OR_RETURN(
        of_segment.runs,
        ProveRuns(segment, evidence_.manifests[of_segment.manifest].header,
                  evidence_.clips, &session_));
    evidence_.segments.push_back(std::move(of_segment));
  }
  return absl::OkStatus();
}

absl::Status Exporter::ProveLeaf(RecordType type, absl::string_view name,
                                 BundleProofs* proofs, ProvenRecord* record) {
  record->proof = absl::StrCat("proofs/", name, ".tlog-proof");
  const std::string digest =
      record->body_sha256.empty()
          ? evidence::RecordDigest(type, record->header, "")
          : evidence::RecordDigestOf(type, record->header, record->body_sha256);
  ASSIGN_OR_RETURN(const std::string text,
                   proofs->Prove(record->position, digest));
  return SendFile(record->proof, text);
}

absl::Status Exporter::Prove() {
  const RecordRef access = {RecordType::kAccess, request_.access_position};
  ASSIGN_OR_RETURN(evidence_.access, ReadLeaf(access));
  evidence_.access_record = request_.access_record;
  ASSIGN_OR_RETURN(evidence_.opened,
                   ReadLeaf({RecordType::kSessionOpened, *records_.opened}));
  ASSIGN_OR_RETURN(BundleProofs proofs,
                   BundleProofs::Await(tree_, request_.access_position,
                                       [this] { return receiver_->Flush(); }));
  RETURN_IF_ERROR(ProveLeaf(RecordType::kSessionOpened, "opened", &proofs,
                            &evidence_.opened));
  for (ProvenRecord& manifest : evidence_.manifests) {
    if (manifest.proof.empty()) continue;
    ASSIGN_OR_RETURN(const std::string text,
                     proofs.Prove(manifest.position,
                                  evidence::RecordDigest(RecordType::kSegment,
                                                         manifest.header, "")));
    RETURN_IF_ERROR(SendFile(manifest.proof, text));
  }
  if (records_.closed) {
    ASSIGN_OR_RETURN(evidence_.closed,
                     ReadLeaf({RecordType::kSessionClosed, *records_.closed}));
    RETURN_IF_ERROR(ProveLeaf(RecordType::kSessionClosed, "closed", &proofs,
                              &*evidence_.closed));
  }
  // One that does not have all of this says nothing of the clip. It may lack
  // the access: that is later than what it is of.
  ASSIGN_OR_RETURN(const std::vector<Anchor> anchors,
                   proofs.Anchors(proofs.last_leaf()));
  RETURN_IF_ERROR(
      ProveLeaf(RecordType::kAccess, "access", &proofs, &evidence_.access));
  RETURN_IF_ERROR(SendFile("checkpoint", proofs.checkpoint()));
  for (size_t i = 0; i < anchors.size(); ++i) {
    EvidenceAnchor anchor;
    anchor.checkpoint = absl::StrCat("anchors/", i + 1, ".checkpoint");
    RETURN_IF_ERROR(SendFile(anchor.checkpoint, anchors[i].checkpoint));
    if (!anchors[i].timestamp.empty()) {
      anchor.timestamp = absl::StrCat("anchors/", i + 1, ".tsr");
      RETURN_IF_ERROR(SendFile(anchor.timestamp, anchors[i].timestamp));
    }
    anchor.consistency = anchors[i].consistency;
    evidence_.anchors.push_back(std::move(anchor));
  }
  return absl::OkStatus();
}

absl::Status Exporter::SendEvidence() {
  uint64_t offset = 0;
  return WriteEvidence(evidence_, [&](absl::string_view bytes) -> absl::Status {
    RETURN_IF_ERROR(receiver_->Write("evidence.json.gz", offset, bytes));
    offset += bytes.size();
    return receiver_->Flush();
  });
}

absl::StatusOr<api::v1::ReadFinished> Exporter::Run() {
  if (!records_.opened) {
    return base::IntegrityError(
        absl::StrCat("session ", request_.session_id.ToString(),
                     ": the log has lost the record that opened it"));
  }
  ASSIGN_OR_RETURN(plan_, PlanRead(request_.range, &session_));
  RETURN_IF_ERROR(CheckContainer(request_.container, plan_.tracks));
  evidence_.from_us = plan_.from_us;
  evidence_.to_us = plan_.to_us;
  RETURN_IF_ERROR(SendMedia());
  RETURN_IF_ERROR(Disclose());
  RETURN_IF_ERROR(GatherManifests());
  RETURN_IF_ERROR(SendBoundary());
  RETURN_IF_ERROR(Prove());
  RETURN_IF_ERROR(SendEvidence());
  return totals_.Finish(remuxer_->file_bytes());
}

}  // namespace

absl::StatusOr<api::v1::ReadFinished> ExportBundle(const BundleRequest& request,
                                                   const SealedArchive& archive,
                                                   const MediaIndex& index,
                                                   const LogTree& tree,
                                                   BundleReceiver* receiver) {
  ASSIGN_OR_RETURN(SessionRecords records,
                   AwaitRecords(request, index, receiver));
  ASSIGN_OR_RETURN(SessionMedia media,
                   index.GetSessionMedia(request.session_id));
  std::vector<ChunkRef> all_chunks = media.chunks;
  media.chunks = ProvenChunks(all_chunks, records);
  if (media.chunks.empty() && !all_chunks.empty()) {
    return absl::FailedPreconditionError(
        "no segment of the session is proven yet: wait some seconds, or for "
        "its close");
  }
  Exporter exporter(request, archive, tree, std::move(records),
                    std::move(all_chunks), std::move(media), receiver);
  return exporter.Run();
}

}  // namespace diptych::indexer
