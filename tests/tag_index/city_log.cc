#include "tests/tag_index/city_log.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <queue>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/unsynced_file.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_store.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/tag_index/city.h"

namespace diptych::bench {
namespace {

using log::RecordType;
using stored::v1::KEY_CLASS_METADATA;

constexpr uint32_t kSet = 2;
constexpr size_t kDigest_bytes = 32;
constexpr uint32_t kTracks = 4;
constexpr int64_t kChunk_us = 1'000'000;
// Bytes of payload of a second, and packets of a side in it.
constexpr uint64_t kPayloadOfSecond_bytes = 250'000;
constexpr uint64_t kPacketsOfSecond = 65;
constexpr size_t kContainerHeader_bytes = 600;
constexpr uint64_t kSessionsAtOnce = 512;
constexpr size_t kBatch_records = 1024;

std::string RandomBytes(Chance* chance, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<char>(chance->Next() >> 40);
  }
  return bytes;
}

// Writes one session's records.
class Writer {
 public:
  Writer(const CitySession& session, seal::SessionSealer* sealer)
      : session_(session),
        sealer_(sealer),
        epoch_(static_cast<uint64_t>(session.start_time_us)),
        chance_(session.number) {}

  void Open() {
    stored::v1::SessionOpened opened = New<stored::v1::SessionOpened>(0);
    opened.set_start_time_us(session_.start_time_us);
    opened.set_gateway("gateway");
    opened.set_key_wraps_digest(Digest());
    Add(RecordType::kSessionOpened, 0, opened.SerializeAsString(), "");
    stored::v1::SpanStarted span = New<stored::v1::SpanStarted>(0);
    span.set_segment(sealer_->segment());
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
    AddSealed(RecordType::kSpanStarted, 0, span.SerializeAsString(),
              description.SerializeAsString());
  }

  void Notes(int64_t at_us, const std::vector<Tag>& tags) {
    stored::v1::Notes notes = New<stored::v1::Notes>(at_us);
    notes.set_segment(sealer_->segment());
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
    AddSealed(RecordType::kNotes, at_us, notes.SerializeAsString(),
              list.SerializeAsString());
  }

  void Chunk(const CitySegment& segment) {
    stored::v1::Chunk chunk = New<stored::v1::Chunk>(segment.to_us);
    chunk.set_suite(seal::kSuite1);
    chunk.set_segment(sealer_->segment());
    chunk.set_chunk(sealer_->segment());
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
    Add(RecordType::kChunk, segment.to_us, chunk.SerializeAsString(),
        "no media");
  }

  void Manifest(const CitySegment& segment) {
    stored::v1::Segment manifest = New<stored::v1::Segment>(segment.to_us);
    manifest.set_segment(sealer_->segment());
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
    manifest.set_previous_manifest_sha256(previous_);
    std::string header = manifest.SerializeAsString();
    previous_ = evidence::ManifestHash(header);
    Add(RecordType::kSegment, segment.to_us, std::move(header), "");
    sealer_->NextSegment();
  }

  void Close() {
    const int64_t end_us = session_.end_us();
    stored::v1::SessionClosed closed = New<stored::v1::SessionClosed>(end_us);
    closed.set_reason(stored::v1::CLOSE_REASON_CLOSED);
    closed.set_segments(static_cast<uint32_t>(session_.segments.size()));
    closed.set_manifest_sha256(previous_);
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
    Add(RecordType::kSessionClosed, end_us + 1, closed.SerializeAsString(), "");
  }

  std::vector<SessionRecords::Timed> Finish() { return std::move(records_); }

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
  void Add(RecordType type, int64_t at_us, std::string header,
           std::string body) {
    records_.push_back({session_.start_time_us + at_us,
                        {type, std::move(header), std::move(body)}});
  }
  void AddSealed(RecordType type, int64_t at_us, std::string header,
                 absl::string_view plaintext) {
    std::string body =
        sealer_->Seal(KEY_CLASS_METADATA, type, header, plaintext);
    Add(type, at_us, std::move(header), std::move(body));
    ++unnamed_;
  }

  const CitySession& session_;
  seal::SessionSealer* const sealer_;
  const uint64_t epoch_;
  Chance chance_;
  std::vector<SessionRecords::Timed> records_;
  uint64_t next_note_ = 1;
  uint32_t next_chunk_ = 0;
  uint32_t unnamed_ = 0;
  std::string previous_;
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

absl::StatusOr<SessionRecords> MakeAll(const stored::v1::ArchiveConfig& archive,
                                       const CitySession& session,
                                       bool with_chunks) {
  ASSIGN_OR_RETURN(seal::SessionSealer sealer,
                   seal::SessionSealer::Create(
                       archive, session.id,
                       static_cast<uint64_t>(session.start_time_us), 0));
  SessionRecords made;
  const stored::v1::KeyWraps& wraps = sealer.wraps();
  stored::v1::KeyWraps header;
  header.set_session_id(wraps.session_id());
  header.set_epoch(wraps.epoch());
  made.key_wraps = {RecordType::kKeyWraps, header.SerializeAsString(),
                    wraps.SerializeAsString()};
  Writer writer(session, &sealer);
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
      if (with_chunks) writer.Chunk(session.segments[i]);
      writer.Manifest(session.segments[i]);
    }
    before = &run;
  }
  writer.Close();
  made.records = writer.Finish();
  return made;
}

// Several sessions' records, made in another thread.
using Block = std::vector<SessionRecords>;

std::future<absl::StatusOr<Block>> MakeBlock(
    const City& city, const stored::v1::ArchiveConfig& archive,
    uint64_t first) {
  return std::async(
      std::launch::async, [&city, &archive, first]() -> absl::StatusOr<Block> {
        Block block;
        const uint64_t last =
            std::min(first + kSessionsAtOnce, city.sessions());
        for (uint64_t place = first; place < last; ++place) {
          ASSIGN_OR_RETURN(block.emplace_back(),
                           MakeRecords(archive, city.Session(place)));
        }
        return block;
      });
}

// Puts records into the log, a batch at a time.
class Appender {
 public:
  Appender(log::LogStore* log, CityLogReport* report)
      : log_(log), report_(report) {}

  absl::Status Add(log::Record record) {
    batch_.push_back(std::move(record));
    return batch_.size() < kBatch_records ? absl::OkStatus() : Flush();
  }

  absl::Status Flush() {
    if (batch_.empty()) return absl::OkStatus();
    if (log_->WantsSnapshot()) {
      const log::Record snapshot = open_.MakeSnapshot(batch_time_us_);
      ASSIGN_OR_RETURN(const auto positions, log_->Append({&snapshot, 1}));
      RETURN_IF_ERROR(open_.Apply(snapshot.type, snapshot.header, snapshot.body,
                                  positions.front()));
    }
    ASSIGN_OR_RETURN(const std::vector<log::Position> positions,
                     log_->Append(batch_));
    for (size_t i = 0; i < batch_.size(); ++i) {
      RETURN_IF_ERROR(open_.Apply(batch_[i].type, batch_[i].header,
                                  batch_[i].body, positions[i]));
    }
    report_->records += batch_.size();
    batch_.clear();
    return absl::OkStatus();
  }

  void SetTime(int64_t time_us) { batch_time_us_ = time_us; }

 private:
  log::LogStore* const log_;
  CityLogReport* const report_;
  log::OpenSessions open_;
  std::vector<log::Record> batch_;
  int64_t batch_time_us_ = 0;
};

// The sessions under way, merged by time.
class Merger {
 public:
  Merger(log::LogStore* key_store, Appender* appender)
      : key_store_(key_store), appender_(appender) {}

  // Writes what lies before the session's opening, and begins it.
  // REQUIRES: it begins no earlier than the one before.
  absl::Status Begin(SessionRecords session) {
    RETURN_IF_ERROR(WriteUntil(session.records.front().time_us));
    ASSIGN_OR_RETURN(const auto positions,
                     key_store_->Append({&session.key_wraps, 1}));
    log::Record& opening = session.records.front().record;
    stored::v1::SessionOpened opened;
    opened.ParseFromString(opening.header);
    opened.set_key_position(positions.front());
    opening.header = opened.SerializeAsString();
    sessions_.push(std::make_shared<UnderWay>(
        UnderWay{std::move(session.records), 0, begun_++}));
    return absl::OkStatus();
  }

  absl::Status WriteUntil(int64_t time_us) {
    while (!sessions_.empty() && sessions_.top()->time_us() < time_us) {
      const std::shared_ptr<UnderWay> session = sessions_.top();
      sessions_.pop();
      appender_->SetTime(session->time_us());
      RETURN_IF_ERROR(
          appender_->Add(std::move(session->records[session->next++].record)));
      if (session->next < session->records.size()) sessions_.push(session);
    }
    return absl::OkStatus();
  }

 private:
  struct UnderWay {
    std::vector<SessionRecords::Timed> records;
    size_t next = 0;
    uint64_t order = 0;
    int64_t time_us() const { return records[next].time_us; }
  };
  struct Later {
    bool operator()(const std::shared_ptr<UnderWay>& a,
                    const std::shared_ptr<UnderWay>& b) const {
      return std::tuple(a->time_us(), a->order) >
             std::tuple(b->time_us(), b->order);
    }
  };

  log::LogStore* const key_store_;
  Appender* const appender_;
  std::priority_queue<std::shared_ptr<UnderWay>,
                      std::vector<std::shared_ptr<UnderWay>>, Later>
      sessions_;
  uint64_t begun_ = 0;
};

absl::StatusOr<std::unique_ptr<log::LogStore>> OpenStore(
    base::FileSystem* files, const std::string& data_folder,
    const base::Uuid& archive_id, absl::string_view folder,
    absl::string_view store) {
  log::LocalLogStoreOptions options;
  options.directory = absl::StrCat(data_folder, "/", folder);
  options.lost_and_found = absl::StrCat(data_folder, "/lost+found");
  options.archive_id = archive_id;
  options.store = std::string(store);
  options.volume_max_bytes = limits::kVolumeMax_bytes;
  log::RecoveryReport report;
  return log::OpenLocalLogStore(files, base::Clock::Real(), options, &report);
}

}  // namespace

absl::StatusOr<SessionRecords> MakeRecords(
    const stored::v1::ArchiveConfig& archive, const CitySession& session) {
  return MakeAll(archive, session, false);
}

absl::StatusOr<SessionRecords> MakeRecordsWithChunks(
    const stored::v1::ArchiveConfig& archive, const CitySession& session) {
  return MakeAll(archive, session, true);
}

absl::StatusOr<CityLogReport> WriteCityLog(
    const City& city, const std::string& data_folder,
    const std::function<void(uint64_t)>& on_progress) {
  ASSIGN_OR_RETURN(const stored::v1::ArchiveConfig archive,
                   seal::ReadArchiveConfig(data_folder));
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::FromBytes(archive.archive_id()));
  const std::unique_ptr<base::FileSystem> files = base::NewUnsyncedFileSystem();
  ASSIGN_OR_RETURN(
      const std::unique_ptr<log::LogStore> log,
      OpenStore(files.get(), data_folder, archive_id, "volumes", "log"));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<log::LogStore> key_store,
      OpenStore(files.get(), data_folder, archive_id, "keystore", "keys"));
  CityLogReport report;
  Appender appender(log.get(), &report);
  Merger merger(key_store.get(), &appender);
  // Two blocks are always being made.
  std::queue<std::future<absl::StatusOr<Block>>> blocks;
  uint64_t next = 0;
  const auto make_next = [&] {
    if (next >= city.sessions()) return;
    blocks.push(MakeBlock(city, archive, next));
    next += kSessionsAtOnce;
  };
  make_next();
  make_next();
  while (!blocks.empty()) {
    absl::StatusOr<Block> block = blocks.front().get();
    blocks.pop();
    RETURN_IF_ERROR(block.status());
    make_next();
    for (SessionRecords& session : *block) {
      for (const auto& timed : session.records) {
        report.segments += timed.record.type == RecordType::kSegment ? 1 : 0;
      }
      RETURN_IF_ERROR(merger.Begin(std::move(session)));
      ++report.sessions;
    }
    if (on_progress) on_progress(report.sessions);
  }
  RETURN_IF_ERROR(merger.WriteUntil(INT64_MAX));
  RETURN_IF_ERROR(appender.Flush());
  report.log_bytes = log->durable_end();
  return report;
}

}  // namespace diptych::bench
