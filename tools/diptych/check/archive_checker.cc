#include "tools/diptych/check/archive_checker.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/key_file.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/seal_check.h"
#include "tools/diptych/check/session_check.h"
#include "tools/diptych/check/store_report.h"

namespace diptych::check {
namespace {

constexpr char kLogStore[] = "log";
constexpr char kKeyStore[] = "keys";

bool IsMedia(log::RecordType type) {
  return type == log::RecordType::kChunk ||
         type == log::RecordType::kAttachmentPart;
}

template <typename Message>
std::optional<Message> Parse(const std::string& bytes) {
  Message message;
  if (!message.ParseFromString(bytes)) return std::nullopt;
  return message;
}

class ArchiveChecker {
 public:
  ArchiveChecker(base::FileSystem* file_system, const CheckOptions& options,
                 stored::v1::ArchiveConfig config, const base::Uuid& archive_id)
      : options_(options),
        config_(std::move(config)),
        archive_id_(archive_id),
        keys_(file_system, kKeyStore,
              absl::StrCat(options.data_dir, "/keystore"), Collector()),
        log_(file_system, kLogStore, absl::StrCat(options.data_dir, "/volumes"),
             Collector()),
        random_(std::random_device()()) {}

  absl::StatusOr<CheckCounts> Run() {
    for (StoreReport* const store : {&keys_, &log_}) {
      RETURN_IF_ERROR(store->Start());
      counts_.volumes += store->volumes().size();
      for (const log::VolumeInfo& volume : store->volumes()) {
        counts_.bytes += volume.size_bytes;
      }
    }
    RETURN_IF_ERROR(Scan(&keys_, [this](const log::StoredRecord& record) {
      TakeKeyRecord(record);
    }));
    RETURN_IF_ERROR(Scan(&log_, [this](const log::StoredRecord& record) {
      TakeLogRecord(record);
    }));
    counts_.open_sessions = open_.size();
    return counts_;
  }

 private:
  struct Session {
    SessionCheck check;
    std::optional<SealCheck> seals;
  };

  // Counts findings and passes them on.
  std::function<void(const Finding&)> Collector() {
    return [this](const Finding& finding) {
      ++(finding.is_error ? counts_.errors : counts_.remarks);
      if (options_.on_finding) options_.on_finding(finding);
    };
  }

  template <typename Take>
  absl::Status Scan(StoreReport* store, const Take& take) {
    const auto scanned = store->reader().Scan(
        {.bodies = false},
        [&](const log::StoredRecord& record) -> absl::Status {
          store->Settle(record.durable_before);
          take(record);
          done_bytes_ += record.end - record.position;
          return Progress();
        },
        [&](const log::Damage& damage) -> absl::Status {
          store->Damaged(damage);
          lost_ = lost_ || damage.was_durable;
          return Progress();
        });
    RETURN_IF_ERROR(scanned.status());
    store->End();
    return absl::OkStatus();
  }

  absl::Status Progress() {
    if (!options_.on_progress) return absl::OkStatus();
    return options_.on_progress(done_bytes_, counts_.bytes);
  }

  // The same record with its body, if that is to be read and is whole.
  std::optional<log::StoredRecord> WithBody(StoreReport* store,
                                            const log::StoredRecord& record) {
    if (IsMedia(record.type) && !Draw()) return std::nullopt;
    absl::StatusOr<log::StoredRecord> read =
        store->reader().Read(record.position, record.end - record.position);
    if (!read.ok()) {
      store->Suspect(
          record.position,
          absl::StrCat("the body of a ", log::RecordTypeName(record.type),
                       " record differs from its checksum"));
      return std::nullopt;
    }
    ++counts_.bodies_read;
    return *std::move(read);
  }

  bool Draw() {
    if (options_.data_share >= 1) return true;
    return options_.data_share > 0 && std::uniform_real_distribution<double>()(
                                          random_) < options_.data_share;
  }

  void TakeVolumeHeader(StoreReport* store, absl::string_view store_name,
                        const log::StoredRecord& record) {
    const auto header = Parse<stored::v1::VolumeHeader>(record.header);
    if (!header.has_value()) {
      store->False(record.position, "the volume's header does not parse");
      return;
    }
    if (header->archive_id() != archive_id_.bytes()) {
      store->False(record.position, "the volume is another archive's");
    }
    if (header->base_position() != record.position ||
        !store->BeginsVolume(record.position)) {
      store->False(record.position, "the volume is not where it belongs");
    }
    if (absl::string_view(header->store()) != store_name) {
      store->False(record.position, "the volume is of another store");
    }
  }

  // True if the record was a volume's header, or is missing one.
  bool TakeFrameOfVolume(StoreReport* store, absl::string_view store_name,
                         const log::StoredRecord& record) {
    if (record.type == log::RecordType::kVolumeHeader) {
      TakeVolumeHeader(store, store_name, record);
      return true;
    }
    if (store->BeginsVolume(record.position)) {
      store->False(record.position, "the volume does not begin with a header");
    }
    return false;
  }

  void TakeKeyRecord(const log::StoredRecord& record) {
    ++counts_.key_records;
    if (TakeFrameOfVolume(&keys_, kKeyStore, record)) return;
    if (record.type != log::RecordType::kKeyWraps) {
      keys_.False(record.position,
                  absl::StrCat("a ", log::RecordTypeName(record.type),
                               " record lies in the key store"));
      return;
    }
    const std::optional<log::StoredRecord> whole = WithBody(&keys_, record);
    if (!whole.has_value()) return;
    const auto header = Parse<stored::v1::KeyWraps>(whole->header);
    const auto wraps = Parse<stored::v1::KeyWraps>(whole->body);
    if (!header.has_value() || !wraps.has_value() ||
        header->session_id() != wraps->session_id() ||
        header->epoch() != wraps->epoch() || wraps->wraps().empty()) {
      keys_.False(record.position,
                  "wrapped keys do not agree with their record's header");
    }
  }

  void TakeLogRecord(const log::StoredRecord& record) {
    ++counts_.records;
    if (TakeFrameOfVolume(&log_, kLogStore, record)) return;
    switch (record.type) {
      case log::RecordType::kSnapshot:
        return TakeSnapshot(record);
      case log::RecordType::kSessionOpened:
        return TakeOpened(record);
      case log::RecordType::kSpanStarted:
        return TakeSpan(record);
      case log::RecordType::kChunk:
        return TakeChunk(record);
      case log::RecordType::kNotes:
        return TakeNotes(record);
      case log::RecordType::kAttachmentPart:
        return TakeAttachmentPart(record);
      case log::RecordType::kSegment:
        return TakeSegment(record);
      case log::RecordType::kSessionClosed:
        return TakeClosed(record);
      case log::RecordType::kAccess:
        return TakeAccess(record);
      case log::RecordType::kStateChanged:
        return TakeStateChanged(record);
      case log::RecordType::kClockChanged:
        return TakeClockChanged(record);
      case log::RecordType::kSourceDigest:
      case log::RecordType::kKeysChanged:
        return;
      default:
        log_.False(
            record.position,
            absl::StrCat("a record of type ", static_cast<int>(record.type),
                         " does not belong into the log"));
    }
  }

  // The record's header; nullopt, after saying so, if it does not parse.
  template <typename Message>
  std::optional<Message> Header(const log::StoredRecord& record) {
    std::optional<Message> header = Parse<Message>(record.header);
    if (!header.has_value()) {
      log_.False(record.position, absl::StrCat("the header of a ",
                                               log::RecordTypeName(record.type),
                                               " record does not parse"));
    }
    return header;
  }

  // The open session that a record names; null, after saying so once a session,
  // if it is not open.
  Session* Find(const log::StoredRecord& record,
                const std::string& session_id) {
    const absl::StatusOr<base::Uuid> id = base::Uuid::FromBytes(session_id);
    if (!id.ok()) {
      log_.False(record.position, "a session's id is not 16 bytes long");
      return nullptr;
    }
    const auto found = open_.find(*id);
    if (found != open_.end()) return &found->second;
    if (unknown_.insert(*id).second) {
      log_.False(
          record.position,
          absl::StrCat("session ", id->ToString(), ": a ",
                       log::RecordTypeName(record.type), " record, but ",
                       closed_.contains(*id) ? "the session was closed"
                                             : "the session was never opened"));
    }
    return nullptr;
  }

  Session* Add(const base::Uuid& id) {
    const auto added =
        open_.emplace(id, Session{SessionCheck(id,
                                               [this](log::Position position,
                                                      const std::string& what) {
                                                 log_.False(position, what);
                                               }),
                                  std::nullopt});
    return &added.first->second;
  }

  void TakeOpened(const log::StoredRecord& record) {
    const auto header = Header<stored::v1::SessionOpened>(record);
    if (!header.has_value()) return;
    Session* session = nullptr;
    if (header->resumed()) {
      session = Find(record, header->session_id());
      if (session == nullptr) return;
    } else {
      const auto id = base::Uuid::FromBytes(header->session_id());
      if (!id.ok()) {
        log_.False(record.position, "a session's id is not 16 bytes long");
        return;
      }
      if (open_.erase(*id) > 0) {
        log_.False(record.position, absl::StrCat("session ", id->ToString(),
                                                 " was opened twice"));
      } else if (closed_.erase(*id) > 0) {
        // The writer remembers the last closed sessions only.
        log_.Remark(record.position,
                    absl::StrCat("session ", id->ToString(),
                                 " was opened again long after its end"));
      }
      session = Add(*id);
    }
    session->check.Opened(record.position, *header);
    session->seals.reset();
    TakeKeys(record.position, *header, session);
  }

  // Looks for the epoch's keys where the log says they are.
  void TakeKeys(log::Position position, const stored::v1::SessionOpened& header,
                Session* session) {
    const auto wraps = ReadWraps(header.key_position());
    if (!wraps.has_value() || wraps->session_id() != header.session_id() ||
        wraps->epoch() != header.epoch()) {
      log_.False(position,
                 absl::StrCat("the key store does not hold the session's keys "
                              "of epoch ",
                              header.epoch(), " at ", header.key_position()));
      return;
    }
    OpenSeals(position, *wraps, session);
  }

  std::optional<stored::v1::KeyWraps> ReadWraps(log::Position position) {
    const auto stored = keys_.reader().Read(position);
    if (!stored.ok() || stored->type != log::RecordType::kKeyWraps) {
      return std::nullopt;
    }
    return Parse<stored::v1::KeyWraps>(stored->body);
  }

  void OpenSeals(log::Position position, const stored::v1::KeyWraps& wraps,
                 Session* session) {
    if (options_.keys.empty()) return;
    auto seals = SealCheck::Create(archive_id_, wraps, options_.keys);
    if (seals.ok()) {
      session->seals = *std::move(seals);
    } else if (!absl::IsPermissionDenied(seals.status())) {
      log_.False(position,
                 absl::StrCat("the session's wrapped keys do not hold: ",
                              seals.status().message()));
    }
  }

  // Counts how a seal opened.
  void TakeSeal(const log::StoredRecord& record, const absl::Status& status) {
    if (status.ok()) {
      ++counts_.seals_opened;
    } else if (absl::IsPermissionDenied(status)) {
      ++counts_.seals_without_key;
    } else {
      log_.False(record.position,
                 absl::StrCat("a ", log::RecordTypeName(record.type),
                              " record does not open: ", status.message()));
    }
  }

  void TakeSpan(const log::StoredRecord& record) {
    const auto header = Header<stored::v1::SpanStarted>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    session->check.SpanStarted(record.position, *header);
    const auto whole = WithBody(&log_, record);
    if (!whole.has_value() || !session->seals.has_value()) return;
    TakeSeal(*whole, session->seals->SpanStarted(*whole, *header));
  }

  void TakeChunk(const log::StoredRecord& record) {
    ++counts_.chunks;
    const auto header = Header<stored::v1::Chunk>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    const auto whole = WithBody(&log_, record);
    session->check.Chunk(
        record.position, *header,
        whole.has_value()
            ? evidence::RecordDigest(whole->type, whole->header, whole->body)
            : "");
    if (!whole.has_value() || !session->seals.has_value()) return;
    TakeSeal(*whole, session->seals->Chunk(*whole, *header));
  }

  void TakeNotes(const log::StoredRecord& record) {
    const auto header = Header<stored::v1::Notes>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    counts_.notes += header->last_note() - header->first_note() + 1;
    session->check.Notes(record.position, *header);
    const auto whole = WithBody(&log_, record);
    if (!whole.has_value() || !session->seals.has_value()) return;
    TakeSeal(*whole, session->seals->Notes(*whole, *header));
  }

  void TakeAttachmentPart(const log::StoredRecord& record) {
    ++counts_.attachment_parts;
    const auto header = Header<stored::v1::AttachmentPart>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    session->check.AttachmentPart(record.position, *header);
    const auto whole = WithBody(&log_, record);
    if (!whole.has_value() || !session->seals.has_value()) return;
    TakeSeal(*whole, session->seals->AttachmentPart(*whole, *header));
  }

  void TakeSegment(const log::StoredRecord& record) {
    ++counts_.segments;
    const auto header = Header<stored::v1::Segment>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    session->check.Segment(record.position, *header, record.header);
  }

  void TakeStateChanged(const log::StoredRecord& record) {
    const auto header = Header<stored::v1::StateChanged>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    session->check.StateChanged(record.position, *header);
  }

  void TakeClockChanged(const log::StoredRecord& record) {
    const auto header = Header<stored::v1::ClockChanged>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    session->check.ClockChanged(record.position, *header);
  }

  void TakeClosed(const log::StoredRecord& record) {
    const auto header = Header<stored::v1::SessionClosed>(record);
    if (!header.has_value()) return;
    Session* const session = Find(record, header->session_id());
    if (session == nullptr) return;
    session->check.Closed(record.position, *header);
    const base::Uuid id = *base::Uuid::FromBytes(header->session_id());
    open_.erase(id);
    closed_.insert(id);
    ++counts_.closed_sessions;
  }

  void TakeAccess(const log::StoredRecord& record) {
    ++counts_.access_records;
    const auto whole = WithBody(&log_, record);
    if (!whole.has_value()) return;
    const auto envelope = Parse<stored::v1::SealedEnvelope>(whole->body);
    if (!envelope.has_value()) {
      log_.False(record.position, "an access record's envelope does not parse");
      return;
    }
    if (options_.keys.empty()) return;
    TakeSeal(*whole,
             seal::OpenEnvelope(config_, *envelope, "access", options_.keys)
                 .status());
  }

  void TakeSnapshot(const log::StoredRecord& record) {
    const auto snapshot = Parse<stored::v1::Snapshot>(record.body);
    if (!snapshot.has_value()) {
      log_.False(record.position, "a snapshot does not parse");
      return;
    }
    std::set<base::Uuid> named;
    for (const stored::v1::OpenSession& stored : snapshot->open_sessions()) {
      const auto id = base::Uuid::FromBytes(stored.session_id());
      if (!id.ok()) {
        log_.False(record.position, "a session's id is not 16 bytes long");
        continue;
      }
      named.insert(*id);
      const auto found = open_.find(*id);
      if (found != open_.end()) {
        found->second.check.Snapshot(record.position, stored);
        // What damage took away, the snapshot gives back.
        if (lost_) found->second.check.Adopt(stored);
        continue;
      }
      if (!lost_) {
        log_.False(record.position,
                   absl::StrCat("the snapshot has session ", id->ToString(),
                                ", which the log before it never opened"));
      }
      AdoptSession(record.position, *id, stored);
    }
    for (auto session = open_.begin(); session != open_.end();) {
      if (named.contains(session->first)) {
        ++session;
        continue;
      }
      if (!lost_) {
        log_.False(record.position,
                   absl::StrCat("the snapshot lacks session ",
                                session->first.ToString(), ", which is open"));
        ++session;
        continue;
      }
      closed_.insert(session->first);
      session = open_.erase(session);
    }
  }

  void AdoptSession(log::Position position, const base::Uuid& id,
                    const stored::v1::OpenSession& stored) {
    unknown_.erase(id);
    Session* const session = Add(id);
    session->check.Adopt(stored);
    const auto wraps = ReadWraps(stored.key_position());
    if (wraps.has_value()) OpenSeals(position, *wraps, session);
  }

  const CheckOptions& options_;
  const stored::v1::ArchiveConfig config_;
  const base::Uuid archive_id_;
  CheckCounts counts_;
  StoreReport keys_;
  StoreReport log_;
  std::mt19937_64 random_;
  uint64_t done_bytes_ = 0;
  // Durable bytes are damaged: what is missing after them is a consequence.
  bool lost_ = false;
  std::map<base::Uuid, Session> open_;
  std::unordered_set<base::Uuid, absl::Hash<base::Uuid>> closed_;
  std::set<base::Uuid> unknown_;
};

}  // namespace

absl::StatusOr<CheckCounts> CheckArchive(base::FileSystem* file_system,
                                         const CheckOptions& options) {
  ASSIGN_OR_RETURN(stored::v1::ArchiveConfig config,
                   seal::ReadArchiveConfig(options.data_dir));
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::FromBytes(config.archive_id()));
  return ArchiveChecker(file_system, options, std::move(config), archive_id)
      .Run();
}

}  // namespace diptych::check
