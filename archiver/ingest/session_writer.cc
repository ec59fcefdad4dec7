#include "archiver/ingest/session_writer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/log/record.h"
#include "archiver/media/interleaver.h"
#include "archiver/media/matroska_muxer.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

using log::Record;
using log::RecordType;

int64_t EndOf(const media::PacketInfo& info) {
  return info.pts_us + static_cast<int64_t>(info.duration_us);
}

bool IsVideo(const std::vector<stored::v1::Track>& tracks, uint32_t track_id) {
  return std::any_of(tracks.begin(), tracks.end(),
                     [&](const stored::v1::Track& track) {
                       return track.track_id() == track_id && track.width() > 0;
                     });
}

}  // namespace

SessionWriter::SessionWriter(Start start, seal::SessionSealer sealer,
                             base::Clock* clock)
    : start_(std::move(start)), sealer_(std::move(sealer)), clock_(clock) {}

int64_t SessionWriter::NowUs() const {
  return absl::ToUnixMicros(clock_->Now());
}

absl::Status SessionWriter::SetTracks(std::vector<stored::v1::Track> tracks,
                                      bool reuse,
                                      std::vector<Record>* records) {
  EndSegment(records);
  tracks_ = std::move(tracks);
  reuse_ = reuse;
  muxer_.reset();
  return absl::OkStatus();
}

absl::Status SessionWriter::StartSpan(std::vector<Record>* records,
                                      int64_t start_us) {
  ASSIGN_OR_RETURN(muxer_, media::MatroskaMuxer::Create(tracks_));
  stored::v1::SpanDescription description;
  for (const stored::v1::Track& track : tracks_) {
    *description.add_tracks() = track;
  }
  // Clusters know a track by its number alone, so those of any muxer for the
  // same tracks fit behind the header that is in the log.
  std::string known = description.SerializeAsString();
  const auto same = std::find_if(
      known_spans_.begin(), known_spans_.end(),
      [&](const KnownSpan& span) { return span.description == known; });
  if (same != known_spans_.end()) {
    const KnownSpan found = *same;
    known_spans_.erase(same);
    if (reuse_) {
      span_ = found.span;
      known_spans_.push_back(found);
      return absl::OkStatus();
    }
  }
  if (start_.next_span >= limits::kMaxSpansPerSession) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a session has at most ", limits::kMaxSpansPerSession,
                     " changes of its tracks"));
  }
  span_ = start_.next_span++;
  known_spans_.push_back({span_, std::move(known)});
  if (known_spans_.size() > limits::kRememberedSpans) known_spans_.pop_front();
  description.set_container_header(muxer_->header());
  description.set_start_us(start_us);
  stored::v1::SpanStarted span;
  span.set_session_id(session_bytes());
  span.set_epoch(start_.epoch);
  span.set_segment(sealer_.segment());
  span.set_span(span_);
  span.set_record_time_us(NowUs());
  const std::string described = description.SerializeAsString();
  span.set_commitment(
      evidence::SpanCommitment(sealer_.SaltOf(stored::v1::KEY_CLASS_METADATA,
                                              seal::SaltKind::kSpan, span_),
                               session_bytes(), span_, described));
  Record record = {RecordType::kSpanStarted, span.SerializeAsString(), ""};
  record.body = sealer_.Seal(stored::v1::KEY_CLASS_METADATA, record.type,
                             record.header, described);
  TakeAccountOf(record);
  records->push_back(std::move(record));
  return absl::OkStatus();
}

bool SessionWriter::FitsOpenSegment(int64_t window_start_us,
                                    int64_t window_end_us) const {
  // A side may lag by the reorder window; what is older is backfill, and
  // belongs to a segment of its own time.
  return window_start_us >=
             segment_.window_start_us() - limits::kReorderWindow_us &&
         window_end_us <= segment_.window_start_us() + limits::kSegmentMax_us;
}

absl::Status SessionWriter::WriteChunk(
    const std::vector<media::PendingPacket>& packets, int64_t window_start_us,
    int64_t window_end_us, const std::vector<stored::v1::Gap>& gaps,
    std::vector<Record>* records) {
  if (segment_.chunks_size() > 0 &&
      !FitsOpenSegment(window_start_us, window_end_us)) {
    EndSegment(records);
  }
  if (muxer_ == nullptr) {
    RETURN_IF_ERROR(StartSpan(records, window_start_us));
  }

  stored::v1::Chunk chunk;
  chunk.set_suite(seal::kSuite1);
  chunk.set_session_id(session_bytes());
  chunk.set_epoch(start_.epoch);
  chunk.set_span(span_);
  chunk.set_segment(sealer_.segment());
  chunk.set_chunk(start_.next_chunk++);
  chunk.set_window_start_us(window_start_us);
  chunk.set_window_end_us(window_end_us);
  chunk.set_record_time_us(NowUs());
  for (const stored::v1::Gap& gap : gaps) *chunk.add_gaps() = gap;

  int64_t start_us = INT64_MAX;
  int64_t end_us = INT64_MIN;
  std::map<stored::v1::Side, stored::v1::ChunkSide> sides;
  std::vector<media::PacketInfo> infos;
  infos.reserve(packets.size());
  for (const media::PendingPacket& packet : packets) {
    const media::PacketInfo& info = packet.info;
    RETURN_IF_ERROR(muxer_->Write(info, packet.payload));
    infos.push_back(info);
    start_us = std::min(start_us, info.pts_us);
    end_us = std::max(end_us, EndOf(info));
    stored::v1::ChunkSide& side = sides[packet.side];
    if (side.first_sequence() == 0) {
      side.set_side(packet.side);
      side.set_first_sequence(info.sequence);
      side.set_start_us(info.pts_us);
      side.set_end_us(EndOf(info));
    }
    side.set_last_sequence(info.sequence);
    side.set_payload_bytes(side.payload_bytes() + packet.payload.size());
    side.set_start_us(std::min(side.start_us(), info.pts_us));
    side.set_end_us(std::max(side.end_us(), EndOf(info)));
    if (!IsVideo(tracks_, info.track_id)) continue;
    if (segment_videos_.insert(info.track_id).second && !info.key_frame) {
      segment_.add_tracks_without_key_frame(info.track_id);
    }
    if (info.key_frame) {
      stored::v1::KeyFrame* key_frame = chunk.add_key_frames();
      key_frame->set_track_id(info.track_id);
      key_frame->set_pts_us(info.pts_us);
    }
  }
  chunk.set_start_us(start_us);
  chunk.set_end_us(end_us);
  for (auto& [side, totals] : sides) *chunk.add_sides() = std::move(totals);
  AddLeaves(packets, &chunk);

  ASSIGN_OR_RETURN(const std::string clusters, muxer_->Flush());
  Record record = {RecordType::kChunk, chunk.SerializeAsString(), ""};
  record.body =
      sealer_.Seal(stored::v1::KEY_CLASS_MEDIA, record.type, record.header,
                   media::EncodeChunkBody(infos, clusters));

  if (segment_.chunks_size() == 0) {
    segment_.set_session_id(session_bytes());
    segment_.set_epoch(start_.epoch);
    segment_.set_span(chunk.span());
    segment_.set_segment(sealer_.segment());
    segment_.set_window_start_us(window_start_us);
    segment_.set_window_end_us(window_end_us);
    segment_.set_start_us(start_us);
    segment_.set_end_us(end_us);
  }
  segment_.set_window_start_us(
      std::min(segment_.window_start_us(), window_start_us));
  segment_.set_window_end_us(std::max(segment_.window_end_us(), window_end_us));
  segment_.set_start_us(std::min(segment_.start_us(), start_us));
  segment_.set_end_us(std::max(segment_.end_us(), end_us));
  stored::v1::SegmentChunk* digest = segment_.add_chunks();
  digest->set_chunk(chunk.chunk());
  digest->set_digest(
      evidence::RecordDigest(record.type, record.header, record.body));
  records->push_back(std::move(record));
  if (*segment_limit_us() <= window_end_us ||
      segment_.chunks_size() >= limits::kSegmentMaxChunks ||
      !HasRoomForRecords()) {
    EndSegment(records);
  }
  return absl::OkStatus();
}

void SessionWriter::AddLeaves(const std::vector<media::PendingPacket>& packets,
                              stored::v1::Chunk* chunk) {
  struct Leaf {
    stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
    bool video = false;
    evidence::TrackLeaf lines;
  };
  std::map<uint32_t, Leaf> leaves;
  for (const media::PendingPacket& packet : packets) {
    const auto [leaf, added] = leaves.try_emplace(packet.info.track_id);
    if (added) {
      leaf->second.side = packet.side;
      leaf->second.video = IsVideo(tracks_, packet.info.track_id);
    }
    leaf->second.lines.Add(
        {.pts_ms = evidence::ToMs(packet.info.pts_us),
         .key_frame = leaf->second.video && packet.info.key_frame,
         .payload_bytes = static_cast<uint32_t>(packet.payload.size()),
         .payload_sha256 = packet.payload_sha256});
  }
  for (const auto& [track_id, leaf] : leaves) {
    std::string& salt = track_salts_[track_id];
    if (salt.empty()) {
      salt = sealer_.SaltOf(stored::v1::KEY_CLASS_MEDIA, seal::SaltKind::kTrack,
                            track_id);
    }
    stored::v1::ChunkTrack* named = chunk->add_tracks();
    named->set_track_id(track_id);
    named->set_side(leaf.side);
    named->set_leaf(leaf.lines.Finish(evidence::ChunkSalt(salt, chunk->chunk()),
                                      session_bytes(), chunk->chunk(),
                                      track_id));
  }
  segment_tracks_.Add(*chunk);
}

std::optional<int64_t> SessionWriter::segment_limit_us() const {
  if (segment_.chunks_size() == 0) return std::nullopt;
  return segment_.window_start_us() + limits::kSegmentMax_us;
}

void SessionWriter::EndSegment(std::vector<Record>* records) {
  if (segment_.chunks_size() == 0) return;
  segment_.set_previous_manifest_sha256(start_.manifest_sha256);
  segment_.set_record_time_us(NowUs());
  segment_tracks_.WriteTo(&segment_);
  for (std::string& digest : TakeUnnamedRecords()) {
    segment_.add_records(std::move(digest));
  }
  Record record = {RecordType::kSegment, segment_.SerializeAsString(), ""};
  start_.manifest_sha256 = evidence::ManifestHash(record.header);
  records->push_back(std::move(record));
  segment_.Clear();
  segment_videos_.clear();
  segment_tracks_.Clear();
  track_salts_.clear();
  sealer_.NextSegment();
}

Record SessionWriter::WriteNotes(stored::v1::Side side,
                                 const stored::v1::NoteList& notes) {
  stored::v1::Notes header;
  header.set_session_id(session_bytes());
  header.set_epoch(start_.epoch);
  header.set_segment(sealer_.segment());
  header.set_side(side);
  header.set_first_note(notes.notes(0).note());
  header.set_last_note(notes.notes(notes.notes_size() - 1).note());
  header.set_record_time_us(NowUs());
  for (const stored::v1::Note& note : notes.notes()) {
    const auto side_number = static_cast<uint8_t>(side);
    header.add_commitments(evidence::NoteCommitment(
        sealer_.SaltOf(stored::v1::KEY_CLASS_METADATA, seal::SaltKind::kNote,
                       seal::NoteSaltId(side_number, note.note())),
        session_bytes(), side_number, note.note(), note.SerializeAsString()));
  }
  Record record = {RecordType::kNotes, header.SerializeAsString(), ""};
  record.body = sealer_.Seal(stored::v1::KEY_CLASS_METADATA, record.type,
                             record.header, notes.SerializeAsString());
  TakeAccountOf(record);
  return record;
}

Record SessionWriter::WriteAttachmentPart(stored::v1::Side side, uint64_t note,
                                          uint32_t attachment_id,
                                          uint64_t offset,
                                          absl::string_view data) {
  stored::v1::AttachmentPart header;
  header.set_session_id(session_bytes());
  header.set_epoch(start_.epoch);
  header.set_segment(sealer_.segment());
  header.set_side(side);
  header.set_note(note);
  header.set_attachment_id(attachment_id);
  header.set_offset(offset);
  header.set_record_time_us(NowUs());
  header.set_commitment(evidence::PartCommitment(
      sealer_.SaltOf(stored::v1::KEY_CLASS_MEDIA,
                     seal::SaltKind::kAttachmentPart,
                     seal::NoteSaltId(static_cast<uint8_t>(side), note)),
      session_bytes(), attachment_id, offset, data));
  Record record = {RecordType::kAttachmentPart, header.SerializeAsString(), ""};
  record.body = sealer_.Seal(stored::v1::KEY_CLASS_MEDIA, record.type,
                             record.header, data);
  TakeAccountOf(record);
  return record;
}

Record SessionWriter::WriteSourceDigest(stored::v1::SourceDigest digest) {
  digest.set_session_id(session_bytes());
  digest.set_epoch(start_.epoch);
  digest.set_record_time_us(NowUs());
  Record record = {RecordType::kSourceDigest, digest.SerializeAsString(), ""};
  TakeAccountOf(record);
  return record;
}

void SessionWriter::TakeAccountOf(const Record& record) {
  start_.unnamed_records.push_back(
      evidence::RecordDigest(record.type, record.header, record.body));
}

std::vector<std::string> SessionWriter::TakeUnnamedRecords() {
  return std::exchange(start_.unnamed_records, {});
}

bool SessionWriter::HasRoomForRecords() const {
  return start_.unnamed_records.size() < limits::kMaxUnnamedRecords;
}

}  // namespace diptych::ingest
