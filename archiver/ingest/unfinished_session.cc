#include "archiver/ingest/unfinished_session.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/log_line.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/segment_tracks.h"
#include "archiver/ingest/coverage.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

using log::Record;
using log::RecordType;

namespace {

// nullopt, after saying so, if it is damaged.
std::optional<log::StoredRecord> ReadRecord(const log::LogReader& log,
                                            log::Position position) {
  absl::StatusOr<log::StoredRecord> record = log.Read(position);
  if (record.ok()) return *std::move(record);
  base::LogLine(base::Severity::kError,
                "a record that no manifest names can't be read",
                {{"position", absl::StrCat(position)},
                 {"error", absl::string_view(record.status().message())}});
  return std::nullopt;
}

}  // namespace

UnfinishedSession ReadUnfinished(const stored::v1::OpenSession& session,
                                 const log::LogReader& log) {
  UnfinishedSession unfinished;
  unfinished.session = session;
  for (const log::Position position : session.pending_records()) {
    const auto record = ReadRecord(log, position);
    if (!record.has_value()) continue;
    unfinished.unnamed_records.push_back(
        evidence::RecordDigest(record->type, record->header, record->body));
  }
  return unfinished;
}

std::vector<Record> CompleteManifests(UnfinishedSession* unfinished,
                                      const log::LogReader& log,
                                      int64_t now_us) {
  struct Manifest {
    stored::v1::Segment segment;
    evidence::SegmentTracks tracks;
  };
  std::map<uint32_t, Manifest> manifests;
  stored::v1::OpenSession& session = unfinished->session;
  for (const stored::v1::PendingChunk& pending : session.pending_chunks()) {
    const auto record = ReadRecord(log, pending.position());
    stored::v1::Chunk chunk;
    if (!record.has_value() || record->type != RecordType::kChunk ||
        !chunk.ParseFromString(record->header)) {
      continue;
    }
    Manifest& manifest = manifests[pending.segment()];
    stored::v1::Segment& segment = manifest.segment;
    if (segment.chunks_size() == 0) {
      segment.set_session_id(session.session_id());
      segment.set_epoch(pending.epoch());
      segment.set_span(pending.span());
      segment.set_segment(pending.segment());
      segment.set_window_start_us(pending.window_start_us());
      segment.set_window_end_us(pending.window_end_us());
      segment.set_start_us(pending.start_us());
      segment.set_end_us(pending.end_us());
      segment.set_recovered(true);
      segment.set_record_time_us(now_us);
    }
    segment.set_window_start_us(
        std::min(segment.window_start_us(), pending.window_start_us()));
    segment.set_window_end_us(
        std::max(segment.window_end_us(), pending.window_end_us()));
    segment.set_start_us(std::min(segment.start_us(), pending.start_us()));
    segment.set_end_us(std::max(segment.end_us(), pending.end_us()));
    stored::v1::SegmentChunk* named = segment.add_chunks();
    named->set_chunk(pending.chunk());
    named->set_digest(
        evidence::RecordDigest(record->type, record->header, record->body));
    manifest.tracks.Add(chunk);
  }
  std::vector<Record> records;
  for (auto& [number, manifest] : manifests) {
    manifest.tracks.WriteTo(&manifest.segment);
    for (std::string& digest : unfinished->unnamed_records) {
      manifest.segment.add_records(std::move(digest));
    }
    unfinished->unnamed_records.clear();
    manifest.segment.set_previous_manifest_sha256(session.manifest_sha256());
    Record record = {RecordType::kSegment, manifest.segment.SerializeAsString(),
                     ""};
    session.set_manifest_sha256(evidence::ManifestHash(record.header));
    records.push_back(std::move(record));
  }
  session.clear_pending_chunks();
  if (!records.empty()) session.clear_pending_records();
  return records;
}

Record AbandonedRecord(const UnfinishedSession& unfinished, int64_t now_us) {
  const stored::v1::OpenSession& session = unfinished.session;
  stored::v1::SessionClosed closed;
  closed.set_session_id(session.session_id());
  closed.set_epoch(session.epoch());
  closed.set_reason(stored::v1::CLOSE_REASON_ABANDONED);
  closed.set_record_time_us(now_us);
  *closed.mutable_sides() = session.sides();
  Coverage coverage;
  for (const stored::v1::SideTotals& totals : session.sides()) {
    if (totals.packets() > 0) coverage.Restore(totals.side(), totals.end_us());
  }
  for (stored::v1::Gap& gap : coverage.AtEnd()) {
    *closed.add_gaps() = std::move(gap);
  }
  closed.set_segments(session.next_segment());
  closed.set_manifest_sha256(session.manifest_sha256());
  for (const std::string& digest : unfinished.unnamed_records) {
    closed.add_records(digest);
  }
  return {RecordType::kSessionClosed, closed.SerializeAsString(), ""};
}

}  // namespace diptych::ingest
