#include "tests/tag_index/city_log.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
#include "tests/tag_index/city_records.h"

namespace diptych::bench {
namespace {

using log::RecordType;
using stored::v1::KEY_CLASS_METADATA;

constexpr uint64_t kSessionsAtOnce = 512;
constexpr size_t kBatch_records = 1024;

// Seals what it hears.
class SealingSink final : public CityRecordSink {
 public:
  explicit SealingSink(seal::SessionSealer* sealer) : sealer_(sealer) {}

  void OnOpened(stored::v1::SessionOpened opened) override {
    Add(RecordType::kSessionOpened, opened, "");
  }
  void OnSpan(stored::v1::SpanStarted span,
              const stored::v1::SpanDescription& description) override {
    AddSealed(RecordType::kSpanStarted, span, description.SerializeAsString());
  }
  void OnNotes(stored::v1::Notes notes,
               const stored::v1::NoteList& list) override {
    AddSealed(RecordType::kNotes, notes, list.SerializeAsString());
  }
  void OnChunk(stored::v1::Chunk chunk) override {
    Add(RecordType::kChunk, chunk, "no media");
  }
  void OnManifest(stored::v1::Segment manifest) override {
    manifest.set_previous_manifest_sha256(previous_);
    Add(RecordType::kSegment, manifest, "");
    previous_ = evidence::ManifestHash(records_.back().record.header);
    sealer_->NextSegment();
  }
  void OnClosed(stored::v1::SessionClosed closed) override {
    closed.set_manifest_sha256(previous_);
    Add(RecordType::kSessionClosed, closed, "");
  }

  std::vector<SessionRecords::Timed> Finish() { return std::move(records_); }

 private:
  template <typename Header>
  void Add(RecordType type, const Header& header, std::string body) {
    records_.push_back({header.record_time_us(),
                        {type, header.SerializeAsString(), std::move(body)}});
  }
  template <typename Header>
  void AddSealed(RecordType type, const Header& header,
                 absl::string_view plaintext) {
    Add(type, header, "");
    log::Record& record = records_.back().record;
    record.body =
        sealer_->Seal(KEY_CLASS_METADATA, type, record.header, plaintext);
  }

  seal::SessionSealer* const sealer_;
  std::vector<SessionRecords::Timed> records_;
  std::string previous_;
};

absl::StatusOr<SessionRecords> MakeAll(const stored::v1::ArchiveConfig& archive,
                                       const CitySession& session,
                                       CityChunks chunks) {
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
  SealingSink sink(&sealer);
  TellRecords(session, chunks, &sink);
  made.records = sink.Finish();
  return made;
}

// Several sessions' records, made in another thread.
using Block = std::vector<SessionRecords>;

std::future<absl::StatusOr<Block>> MakeBlock(
    const City& city, const stored::v1::ArchiveConfig& archive, uint64_t first,
    uint64_t end) {
  return std::async(
      std::launch::async,
      [&city, &archive, first, end]() -> absl::StatusOr<Block> {
        Block block;
        const uint64_t last = std::min(first + kSessionsAtOnce, end);
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
  return MakeAll(archive, session, CityChunks::kNone);
}

absl::StatusOr<SessionRecords> MakeRecordsWithChunks(
    const stored::v1::ArchiveConfig& archive, const CitySession& session) {
  return MakeAll(archive, session, CityChunks::kOnePerSegment);
}

absl::StatusOr<CityLogReport> WriteCityLog(const City& city, uint64_t sessions,
                                           const std::string& data_folder) {
  sessions = std::min(sessions, city.sessions());
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
    if (next >= sessions) return;
    blocks.push(MakeBlock(city, archive, next, sessions));
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
  }
  RETURN_IF_ERROR(merger.WriteUntil(INT64_MAX));
  RETURN_IF_ERROR(appender.Flush());
  report.log_bytes = log->durable_end();
  return report;
}

}  // namespace diptych::bench
