#include "tools/diptych/check/log_check.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/archive_checker.h"
#include "tools/diptych/check/key_store_check.h"
#include "tools/diptych/check/record_feed.h"
#include "tools/diptych/check/seal_check.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/check/tree_check.h"

namespace diptych::check {
namespace {

bool IsWhole(const ReadRecord& read) {
  return read.body == ReadRecord::Body::kWhole;
}

}  // namespace

LogCheck::LogCheck(const CheckOptions* options,
                   const stored::v1::ArchiveConfig* archive, StoreReport* log,
                   KeyStoreCheck* keys, TreeCheck* tree, CheckCounts* counts)
    : options_(options),
      archive_(archive),
      log_(log),
      keys_(keys),
      tree_(tree),
      counts_(counts) {}

void LogCheck::Take(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  record_time_us_ = 0;
  Dispatch(read);
  last_time_us_ = std::max(last_time_us_, record_time_us_);
  if (evidence::IsLogLeaf(record.type)) {
    tree_->Leaf(record.position, read.Digest(), record_time_us_);
  }
  if (record.type == log::RecordType::kSnapshot) return;
  // What does not fit was named above.
  fold_.Apply(record.type, record.header, record.body, record.position)
      .IgnoreError();
}

void LogCheck::Damaged(const log::Damage& damage) {
  // Behind a tail that a crash has torn nothing comes that this could excuse.
  lost_ = true;
  tree_->Damaged(damage.from, damage.to, damage.was_durable);
}

void LogCheck::End() {
  counts_->open_sessions = open_.size();
  for (const auto& [id, session] : open_) {
    counts_->source_statements_proven += session.statements.proven();
  }
  tree_->End(last_time_us_);
  counts_->leaves = tree_->leaves();
  counts_->leaves_in_checkpoint = tree_->proven_leaves();
}

void LogCheck::Dispatch(const ReadRecord& read) {
  switch (read.record.type) {
    case log::RecordType::kSnapshot:
      return TakeSnapshot(read);
    case log::RecordType::kSessionOpened:
      return TakeOpened(read);
    case log::RecordType::kSpanStarted:
      return TakeSpan(read);
    case log::RecordType::kChunk:
      return TakeChunk(read);
    case log::RecordType::kNotes:
      return TakeNotes(read);
    case log::RecordType::kAttachmentPart:
      return TakeAttachmentPart(read);
    case log::RecordType::kSourceDigest:
      return TakeSourceDigest(read);
    case log::RecordType::kSegment:
      return TakeSegment(read);
    case log::RecordType::kSessionClosed:
      return TakeClosed(read);
    case log::RecordType::kAccess:
      return TakeAccess(read);
    case log::RecordType::kStateChanged:
      return TakeStateChanged(read);
    case log::RecordType::kClockChanged:
      return TakeClockChanged(read);
    case log::RecordType::kKeysChanged:
      return TakeKeysChanged(read);
    default:
      log_->False(
          read.record.position,
          absl::StrCat("a record of type ", static_cast<int>(read.record.type),
                       " does not belong into the log"));
  }
}

// The record's header; nullopt, after saying so, if it does not parse.
template <typename Message>
std::optional<Message> LogCheck::Header(const ReadRecord& read) {
  Message header;
  if (!header.ParseFromString(read.record.header)) {
    log_->False(
        read.record.position,
        absl::StrCat("the header of a ", log::RecordTypeName(read.record.type),
                     " record does not parse"));
    return std::nullopt;
  }
  record_time_us_ = header.record_time_us();
  return header;
}

void LogCheck::At(log::Position position, const std::string& session_id) {
  const absl::StatusOr<base::Uuid> id = base::Uuid::FromBytes(session_id);
  log_->At(position, {.session = id.ok() ? id->ToString() : ""});
}

void LogCheck::AtChunk(log::Position position,
                       const stored::v1::Chunk& header) {
  const absl::StatusOr<base::Uuid> id =
      base::Uuid::FromBytes(header.session_id());
  log_->At(position, {.session = id.ok() ? id->ToString() : "",
                      .chunk = header.chunk(),
                      .at_us = header.start_us()});
}

LogCheck::Session* LogCheck::Find(const log::StoredRecord& record,
                                  const std::string& session_id) {
  const absl::StatusOr<base::Uuid> id = base::Uuid::FromBytes(session_id);
  if (!id.ok()) {
    log_->False(record.position, "a session's id is not 16 bytes long");
    return nullptr;
  }
  const auto found = open_.find(*id);
  if (found != open_.end()) return &found->second;
  if (unknown_.insert(*id).second) {
    log_->False(
        record.position,
        absl::StrCat("session ", id->ToString(), ": a ",
                     log::RecordTypeName(record.type), " record, but ",
                     closed_.contains(*id) ? "the session was closed"
                                           : "the session was never opened"));
  }
  return nullptr;
}

LogCheck::Session* LogCheck::Add(const base::Uuid& id) {
  const std::string prefix = absl::StrCat("session ", id.ToString(), ": ");
  const FalseThing on_false = [this](log::Position position,
                                     const std::string& what) {
    log_->False(position, what);
  };
  const auto added = open_.emplace(
      id,
      Session{
          SessionCheck(id, on_false),
          StatementCheck(
              archive_, id,
              [this, prefix](log::Position position, const std::string& what) {
                log_->False(position, prefix + what);
              },
              [this, prefix](log::Position position, const std::string& what) {
                log_->Remark(position, prefix + what);
              }),
          std::nullopt});
  return &added.first->second;
}

void LogCheck::TakeOpened(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  const auto header = Header<stored::v1::SessionOpened>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* session = nullptr;
  if (header->resumed()) {
    session = Find(record, header->session_id());
    if (session == nullptr) return;
  } else {
    const auto id = base::Uuid::FromBytes(header->session_id());
    if (!id.ok()) {
      log_->False(record.position, "a session's id is not 16 bytes long");
      return;
    }
    if (open_.erase(*id) > 0) {
      log_->False(record.position, absl::StrCat("session ", id->ToString(),
                                                " was opened twice"));
    } else if (const auto closed = closed_.find(*id); closed != closed_.end()) {
      if (header->epoch() <= closed->second) {
        log_->False(
            record.position,
            absl::StrCat("session ", id->ToString(),
                         " is opened again under epoch ", header->epoch(),
                         " after epoch ", closed->second));
      }
      // The writer remembers the last closed sessions only.
      log_->Remark(record.position,
                   absl::StrCat("session ", id->ToString(),
                                " was opened again long after its end"));
      closed_.erase(closed);
    }
    session = Add(*id);
  }
  session->check.Opened(record.position, *header, read.Digest());
  session->seals.reset();
  // The epoch's keys must be where the log says.
  if (!keys_
           ->Find(header->key_position(), header->session_id(), header->epoch(),
                  header->key_wraps_digest())
           .has_value()) {
    log_->False(record.position,
                absl::StrCat("the key store does not hold the session's keys "
                             "of epoch ",
                             header->epoch(), " at ", header->key_position()));
    return;
  }
  const auto wraps = keys_->Latest(header->key_position(), header->session_id(),
                                   header->epoch());
  if (wraps.has_value()) OpenSeals(record.position, *wraps, session);
}

void LogCheck::OpenSeals(log::Position position,
                         const stored::v1::KeyWraps& wraps, Session* session) {
  if (options_->keys.empty()) return;
  const auto archive_id = base::Uuid::FromBytes(archive_->archive_id());
  if (!archive_id.ok()) return;
  auto seals = SealCheck::Create(*archive_id, wraps, options_->keys);
  if (seals.ok()) {
    session->seals = *std::move(seals);
    TakeWraps(position,
              {.archive_id = archive_->archive_id(),
               .session_id = wraps.session_id(),
               .epoch = wraps.epoch()},
              wraps.wraps());
  } else if (!absl::IsPermissionDenied(seals.status())) {
    log_->False(position,
                absl::StrCat("the session's wrapped keys do not hold: ",
                             seals.status().message()));
  }
}

void LogCheck::TakeWraps(
    log::Position position, const seal::WrapContext& context,
    const google::protobuf::RepeatedPtrField<stored::v1::Wrap>& wraps) {
  const absl::Status status = CheckWraps(context, wraps, options_->keys);
  if (!status.ok()) log_->False(position, std::string(status.message()));
}

bool LogCheck::CanOpen(const ReadRecord& read, const Session& session) {
  if (options_->keys.empty() || !IsWhole(read)) return false;
  if (session.seals.has_value()) return true;
  ++counts_->seals_without_key;
  return false;
}

void LogCheck::TakeSeal(const log::StoredRecord& record,
                        const absl::Status& status) {
  if (status.ok()) {
    ++counts_->seals_opened;
  } else if (absl::IsPermissionDenied(status)) {
    ++counts_->seals_without_key;
  } else {
    log_->False(record.position,
                absl::StrCat("a ", log::RecordTypeName(record.type),
                             " record does not open: ", status.message()));
  }
}

void LogCheck::TakeSpan(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  const auto header = Header<stored::v1::SpanStarted>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.SpanStarted(record.position, *header, read.Digest());
  if (!CanOpen(read, *session)) return;
  TakeSeal(record, session->seals->SpanStarted(record, *header));
}

void LogCheck::TakeChunk(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  ++counts_->chunks;
  const auto header = Header<stored::v1::Chunk>(read);
  if (!header.has_value()) return;
  AtChunk(record.position, *header);
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.Chunk(record.position, *header, read.Digest());
  absl::StatusOr<ChunkContents> contents =
      absl::UnavailableError("it was not opened");
  if (CanOpen(read, *session)) {
    contents = session->seals->Chunk(record, *header);
    TakeSeal(record, contents.status());
  }
  session->statements.Chunk(*header, contents.ok() ? &*contents : nullptr);
}

void LogCheck::TakeNotes(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  const auto header = Header<stored::v1::Notes>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  counts_->notes += header->last_note() - header->first_note() + 1;
  session->check.Notes(record.position, *header, read.Digest());
  if (!CanOpen(read, *session)) return;
  TakeSeal(record, session->seals->Notes(record, *header));
}

void LogCheck::TakeAttachmentPart(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  ++counts_->attachment_parts;
  const auto header = Header<stored::v1::AttachmentPart>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.AttachmentPart(record.position, *header, read.Digest());
  if (!CanOpen(read, *session)) return;
  TakeSeal(record, session->seals->AttachmentPart(record, *header));
}

void LogCheck::TakeSourceDigest(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  ++counts_->source_statements;
  const auto header = Header<stored::v1::SourceDigest>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.SourceDigest(record.position, *header, read.Digest());
  session->statements.Statement(record.position, *header);
}

void LogCheck::TakeSegment(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  ++counts_->segments;
  const auto header = Header<stored::v1::Segment>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.Segment(record.position, *header, record.header);
}

void LogCheck::TakeStateChanged(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  const auto header = Header<stored::v1::StateChanged>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.StateChanged(record.position, *header, read.Digest());
}

void LogCheck::TakeClockChanged(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  const auto header = Header<stored::v1::ClockChanged>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.ClockChanged(record.position, *header, read.Digest());
}

void LogCheck::TakeClosed(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  const auto header = Header<stored::v1::SessionClosed>(read);
  if (!header.has_value()) return;
  At(record.position, header->session_id());
  Session* const session = Find(record, header->session_id());
  if (session == nullptr) return;
  session->check.Closed(record.position, *header);
  session->statements.Closed(record.position);
  counts_->source_statements_proven += session->statements.proven();
  if (!session->statements.any()) ++counts_->unsigned_sessions;
  const base::Uuid id = *base::Uuid::FromBytes(header->session_id());
  open_.erase(id);
  closed_[id] = header->epoch();
  ++counts_->closed_sessions;
}

void LogCheck::TakeAccess(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  ++counts_->access_records;
  const auto header = Header<stored::v1::Access>(read);
  log_->At(record.position, {});
  if (!header.has_value() || !IsWhole(read)) return;
  stored::v1::SealedEnvelope envelope;
  if (!envelope.ParseFromString(record.body)) {
    log_->False(record.position, "an access record's envelope does not parse");
    return;
  }
  if (options_->keys.empty()) return;
  const absl::StatusOr<std::string> opened =
      seal::OpenEnvelope(*archive_, envelope, "access", options_->keys);
  absl::Status status = opened.status();
  if (opened.ok() &&
      header->commitment() != evidence::AccessCommitment(*opened)) {
    status = base::IntegrityError(
        "its header does not commit to the record that is inside");
  }
  TakeSeal(record, status);
  TakeWraps(
      record.position,
      {.archive_id = archive_->archive_id(), .session_id = "", .epoch = 0},
      envelope.wraps());
}

void LogCheck::TakeKeysChanged(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  const auto header = Header<stored::v1::KeysChanged>(read);
  log_->At(record.position, {});
  if (!header.has_value()) return;
  for (const stored::v1::Rewrap& rewrap : header->rewraps()) {
    if (keys_
            ->Find(rewrap.key_position(), rewrap.session_id(), rewrap.epoch(),
                   rewrap.key_wraps_digest())
            .has_value()) {
      continue;
    }
    At(record.position, rewrap.session_id());
    log_->False(record.position,
                absl::StrCat("the key store does not hold the keys of epoch ",
                             rewrap.epoch(), " that were wrapped again at ",
                             rewrap.key_position()));
  }
}

void LogCheck::TakeSnapshot(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  log_->At(record.position, {});
  if (!IsWhole(read)) return;
  const uint64_t errors_before = counts_->errors;
  stored::v1::Snapshot snapshot;
  if (!snapshot.ParseFromString(record.body)) {
    log_->False(record.position, "a snapshot does not parse");
    return;
  }
  record_time_us_ = snapshot.record_time_us();
  std::set<base::Uuid> named;
  for (const stored::v1::OpenSession& stored : snapshot.open_sessions()) {
    const auto id = base::Uuid::FromBytes(stored.session_id());
    if (!id.ok()) {
      log_->False(record.position, "a session's id is not 16 bytes long");
      continue;
    }
    named.insert(*id);
    const auto found = open_.find(*id);
    if (found != open_.end()) {
      if (!lost_) {
        found->second.check.Snapshot(record.position, stored);
      } else {
        // What damage took away, the snapshot gives back.
        found->second.check.Adopt(stored);
        found->second.statements.Adopt(stored);
      }
      continue;
    }
    if (!lost_) {
      log_->False(record.position,
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
      log_->False(record.position,
                  absl::StrCat("the snapshot lacks session ",
                               session->first.ToString(), ", which is open"));
      ++session;
      continue;
    }
    closed_[session->first] = session->second.check.epoch();
    session = open_.erase(session);
  }
  CheckFold(read, errors_before);
}

void LogCheck::CheckFold(const ReadRecord& read, uint64_t errors_before) {
  const log::StoredRecord& record = read.record;
  const bool same = fold_.MakeSnapshot(record_time_us_).body == record.body;
  if (!same && !lost_ && counts_->errors == errors_before) {
    log_->False(record.position,
                "the snapshot is not what the log before it adds up to");
  }
  if (same) return;
  // The next one is to follow this one.
  fold_ = log::OpenSessions();
  fold_.Apply(record.type, record.header, record.body, record.position)
      .IgnoreError();
}

void LogCheck::AdoptSession(log::Position position, const base::Uuid& id,
                            const stored::v1::OpenSession& stored) {
  unknown_.erase(id);
  Session* const session = Add(id);
  session->check.Adopt(stored);
  session->statements.Adopt(stored);
  const auto wraps =
      keys_->Latest(stored.key_position(), stored.session_id(), stored.epoch());
  if (wraps.has_value()) OpenSeals(position, *wraps, session);
}

}  // namespace diptych::check
