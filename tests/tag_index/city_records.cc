#include "tests/tag_index/city_records.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/tag_index/city.h"

namespace diptych::bench {
namespace {

constexpr uint32_t kSet = 2;
constexpr size_t kDigest_bytes = 32;
constexpr uint32_t kTracks = 4;
constexpr int64_t kChunk_us = 1'000'000;
// Bytes of payload of a second, and packets of a side in it.
constexpr uint64_t kPayloadOfSecond_bytes = 250'000;
constexpr uint64_t kPacketsOfSecond = 65;
constexpr size_t kContainerHeader_bytes = 600;

std::string RandomBytes(Chance* chance, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    const uint64_t word = chance->Next();
    std::memcpy(&bytes[i], &word, std::min(sizeof(word), size - i));
  }
  return bytes;
}

// Makes up one session's records.
class Writer {
 public:
  Writer(const CitySession& session, CityRecordSink* sink)
      : session_(session),
        sink_(sink),
        epoch_(static_cast<uint64_t>(session.start_time_us)),
        chance_(session.number) {}

  void Open() {
    stored::v1::SessionOpened opened = New<stored::v1::SessionOpened>(0);
    opened.set_start_time_us(session_.start_time_us);
    opened.set_gateway("gateway");
    opened.set_key_wraps_digest(Digest());
    sink_->OnOpened(std::move(opened));
    stored::v1::SpanStarted span = New<stored::v1::SpanStarted>(0);
    span.set_segment(segment_);
    span.set_span(0);
    span.set_commitment(Digest());
    stored::v1::SpanDescription description;
    for (uint32_t track = 1; track <= kTracks; ++track) {
      stored::v1::Track* added = description.add_tracks();
      added->set_track_id(track);
      added->set_side(track % 2 == 0 ? stored::v1::SIDE_CLERK
                                     : stored::v1::SIDE_RESIDENT);
      added->set_source(track <= 2 ? 1 : 2);
      added->set_codec(track <= 2 ? 1 : 6);
    }
    description.set_container_header(
        RandomBytes(&chance_, kContainerHeader_bytes));
    sink_->OnSpan(std::move(span), description);
    ++unnamed_;
  }

  void Notes(int64_t at_us, const std::vector<Tag>& tags) {
    stored::v1::Notes notes = New<stored::v1::Notes>(at_us);
    notes.set_segment(segment_);
    notes.set_side(stored::v1::SIDE_CLERK);
    notes.set_first_note(next_note_);
    stored::v1::NoteList list;
    for (const Tag& tag : tags) {
      stored::v1::Note* note = list.add_notes();
      note->set_note(next_note_++);
      note->set_at_us(at_us);
      note->mutable_tag()->set_key(std::string(KeyName(tag.key())));
      note->mutable_tag()->add_values(tag.Text());
      note->mutable_tag()->set_operation(kSet);
      notes.add_commitments(Digest());
    }
    notes.set_last_note(next_note_ - 1);
    sink_->OnNotes(std::move(notes), list);
    ++unnamed_;
  }

  void Chunk(const CitySegment& segment) {
    stored::v1::Chunk chunk = New<stored::v1::Chunk>(segment.to_us);
    chunk.set_suite(seal::kSuite1);
    chunk.set_segment(segment_);
    chunk.set_chunk(segment_);
    chunk.set_start_us(segment.from_us);
    chunk.set_end_us(segment.to_us);
    chunk.set_window_start_us(segment.from_us);
    chunk.set_window_end_us(segment.to_us);
    for (const stored::v1::Side side :
         {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK}) {
      stored::v1::ChunkSide* added = chunk.add_sides();
      added->set_side(side);
      added->set_first_sequence(chunk.chunk() * kPacketsOfSecond + 1);
      added->set_last_sequence((chunk.chunk() + 1) * kPacketsOfSecond);
      added->set_payload_bytes(kPayloadOfSecond_bytes);
      added->set_start_us(segment.from_us);
      added->set_end_us(segment.to_us);
    }
    stored::v1::KeyFrame* key_frame = chunk.add_key_frames();
    key_frame->set_track_id(1);
    key_frame->set_pts_us(segment.from_us);
    sink_->OnChunk(std::move(chunk));
  }

  void Manifest(const CitySegment& segment) {
    stored::v1::Segment manifest = New<stored::v1::Segment>(segment.to_us);
    manifest.set_segment(segment_);
    manifest.set_window_start_us(segment.from_us);
    manifest.set_window_end_us(segment.to_us);
    // Packets neither begin nor end where windows do.
    manifest.set_start_us(segment.from_us + chance_.Below(20'000));
    manifest.set_end_us(segment.to_us + chance_.Below(60'000));
    for (int64_t at_us = segment.from_us; at_us < segment.to_us;
         at_us += kChunk_us) {
      stored::v1::SegmentChunk* chunk = manifest.add_chunks();
      chunk->set_chunk(next_chunk_++);
      chunk->set_digest(Digest());
    }
    for (uint32_t track = 1; track <= kTracks; ++track) {
      stored::v1::SegmentTrack* added = manifest.add_tracks();
      added->set_track_id(track);
      added->set_side(track % 2 == 0 ? stored::v1::SIDE_CLERK
                                     : stored::v1::SIDE_RESIDENT);
      added->set_root(Digest());
    }
    if (chance_.Below(3) == 0) manifest.add_tracks_without_key_frame(1);
    for (; unnamed_ > 0; --unnamed_) manifest.add_records(Digest());
    sink_->OnManifest(std::move(manifest));
    ++segment_;
  }

  void Close() {
    const int64_t end_us = session_.end_us();
    stored::v1::SessionClosed closed =
        New<stored::v1::SessionClosed>(end_us + 1);
    closed.set_reason(stored::v1::CLOSE_REASON_CLOSED);
    closed.set_segments(static_cast<uint32_t>(session_.segments.size()));
    const auto seconds = static_cast<uint64_t>(end_us / 1'000'000);
    for (const stored::v1::Side side :
         {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK}) {
      stored::v1::SideTotals* totals = closed.add_sides();
      totals->set_side(side);
      totals->set_packets(seconds * kPacketsOfSecond);
      totals->set_last_sequence(totals->packets());
      totals->set_last_note(side == stored::v1::SIDE_CLERK ? next_note_ - 1
                                                           : 0);
      totals->set_payload_bytes(seconds * kPayloadOfSecond_bytes / 2);
      totals->set_end_us(end_us);
      totals->set_ended(true);
      totals->set_declared_sequence(totals->packets());
    }
    sink_->OnClosed(std::move(closed));
  }

 private:
  template <typename Header>
  Header New(int64_t at_us) const {
    Header header;
    header.set_session_id(std::string(session_.id.bytes()));
    header.set_epoch(epoch_);
    header.set_record_time_us(session_.start_time_us + at_us);
    return header;
  }
  std::string Digest() { return RandomBytes(&chance_, kDigest_bytes); }

  const CitySession& session_;
  CityRecordSink* const sink_;
  const uint64_t epoch_;
  Chance chance_;
  uint64_t next_note_ = 1;
  uint32_t next_chunk_ = 0;
  uint32_t segment_ = 0;
  // Records that the next manifest names.
  uint32_t unnamed_ = 0;
};

std::vector<Tag> TimedTags(const CityRun& run, const CityRun* before) {
  std::vector<Tag> tags;
  for (size_t key = kWholeSessionKeys; key < kKeys; ++key) {
    if (before == nullptr || before->tags[key] != run.tags[key]) {
      tags.push_back(run.tags[key]);
    }
  }
  return tags;
}

}  // namespace

void TellRecords(const CitySession& session, CityChunks chunks,
                 CityRecordSink* sink) {
  Writer writer(session, sink);
  writer.Open();
  const CityRun* before = nullptr;
  for (const CityRun& run : session.runs) {
    std::vector<Tag> tags = TimedTags(run, before);
    if (before == nullptr) {
      // Outcome and rating come last.
      tags.insert(tags.begin(), run.tags.begin(),
                  run.tags.begin() + static_cast<int>(Key::kOutcome));
    }
    writer.Notes(run.from_us, tags);
    for (uint32_t i = run.first_segment; i <= run.last_segment; ++i) {
      if (i + 1 == session.segments.size()) {
        writer.Notes(session.segments[i].from_us + 1,
                     {run.tag(Key::kOutcome), run.tag(Key::kRating)});
      }
      if (chunks == CityChunks::kOnePerSegment) {
        writer.Chunk(session.segments[i]);
      }
      writer.Manifest(session.segments[i]);
    }
    before = &run;
  }
  writer.Close();
}

}  // namespace diptych::bench
