#include "indexer/builder/index_builder.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using log::RecordType;
using log::StoredRecord;

std::vector<seal::KeyPair> CloneKeys(const std::vector<seal::KeyPair>& keys) {
  std::vector<seal::KeyPair> clones;
  for (const seal::KeyPair& key : keys) clones.push_back(key.Clone());
  return clones;
}

uint64_t KeyPositionOf(const stored::v1::SessionRow& row, uint64_t epoch,
                       bool* found) {
  for (const auto& known : row.epochs()) {
    if (known.epoch() != epoch) continue;
    *found = true;
    return known.key_position();
  }
  *found = false;
  return 0;
}

}  // namespace

IndexBuilder::IndexBuilder(Options options)
    : options_(std::move(options)),
      openers_(options_.archive_id, options_.log, options_.key_store,
               CloneKeys(options_.recipient_keys)) {}

absl::StatusOr<std::unique_ptr<IndexBuilder>> IndexBuilder::Create(
    Options options) {
  auto builder = absl::WrapUnique(new IndexBuilder(std::move(options)));
  const IndexView view(builder->options_.store, builder->options_.index_keys);
  ASSIGN_OR_RETURN(builder->state_, view.State());
  RETURN_IF_ERROR(builder->VerifyIndexKeys(view));
  RETURN_IF_ERROR(builder->VerifyLastRecord());
  return builder;
}

absl::Status IndexBuilder::VerifyIndexKeys(const IndexView& view) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> fingerprint,
                   view.KeyFingerprint());
  const std::string ours = options_.index_keys->Fingerprint();
  if (fingerprint.has_value()) {
    return *fingerprint == ours
               ? absl::OkStatus()
               : NeedsRebuild("it was made under another index key");
  }
  if (state_.position() > 0) {
    return NeedsRebuild("it does not say under which index key it was made");
  }
  IndexBatch batch;
  batch.Put(Family::kMeta, std::string(kFingerprintKey), ours);
  return options_.store->Write(batch);
}

absl::Status IndexBuilder::VerifyLastRecord() const {
  if (state_.last_header_sha256().empty()) return absl::OkStatus();
  // Headers only: a damaged body says nothing against the index.
  std::optional<std::string> header;
  const absl::Status stop = absl::CancelledError();
  const absl::StatusOr<log::Position> scanned = options_.log->Scan(
      {.from = state_.last_record_position(), .bodies = false},
      [&](const StoredRecord& record) {
        if (record.position == state_.last_record_position()) {
          header = record.header;
        }
        return stop;
      },
      [&](const log::Damage&) { return stop; });
  if (!scanned.ok() && scanned.status() != stop) return scanned.status();
  if (!header.has_value() ||
      base::Sha256(*header) != state_.last_header_sha256()) {
    return NeedsRebuild("the log is not the one that it was made from");
  }
  return absl::OkStatus();
}

bool IndexBuilder::NeedsBody(RecordType type) {
  return type == RecordType::kNotes || type == RecordType::kSpanStarted ||
         type == RecordType::kSnapshot;
}

absl::Status IndexBuilder::Apply(absl::Span<const StoredRecord> records,
                                 absl::Span<const log::Damage> damages,
                                 log::Position next) {
  Work work;
  work.state = state_;
  work.view = std::make_unique<IndexView>(options_.store, options_.index_keys);
  absl::Status status = ApplyAll(records, damages, next, &work);
  if (!status.ok()) {
    // What is at hand is ahead of the store.
    sessions_.ShrinkTo(0);
    dictionary_.clear();
    return status;
  }
  state_ = std::move(work.state);
  for (const base::Uuid& id : work.changed) {
    const SessionState* session = sessions_.Find(id);
    if (session != nullptr &&
        session->row().closed() != stored::v1::CLOSE_REASON_UNSPECIFIED) {
      sessions_.Erase(id);
    }
  }
  sessions_.ShrinkTo(limits::kIndexSessionCache);
  return absl::OkStatus();
}

absl::Status IndexBuilder::ApplyAll(absl::Span<const StoredRecord> records,
                                    absl::Span<const log::Damage> damages,
                                    log::Position next, Work* work) {
  for (const StoredRecord& record : records) {
    RETURN_IF_ERROR(ApplyRecord(record, work));
    // An empty header would say nothing of the log.
    if (!record.header.empty()) {
      work->state.set_last_record_position(record.position);
      work->state.set_last_header_sha256(base::Sha256(record.header));
    }
  }
  for (const log::Damage& damage : damages) {
    // What a crash tore had never been promised to anybody.
    if (!damage.was_durable) continue;
    const auto& known = work->state.damages();
    if (std::any_of(known.begin(), known.end(), [&](const auto& row) {
          return row.from() == damage.from;
        })) {
      continue;
    }
    work->state.set_damage_count(work->state.damage_count() + 1);
    if (known.size() < limits::kMaxRememberedDamages) {
      stored::v1::DamageRow* row = work->state.add_damages();
      row->set_from(damage.from);
      row->set_to(damage.to);
    }
  }
  for (const base::Uuid& id : work->changed) {
    sessions_.Find(id)->Flush(&work->batch);
  }
  work->state.set_position(next);
  work->batch.Put(Family::kMeta, std::string(kStateKey),
                  work->state.SerializeAsString());
  return options_.store->Write(work->batch);
}

absl::StatusOr<SessionState*> IndexBuilder::FindSession(
    const base::Uuid& session, Work* work) {
  if (SessionState* known = sessions_.Find(session)) {
    work->changed.insert(session);
    return known;
  }
  ASSIGN_OR_RETURN(std::optional<SessionState> loaded,
                   SessionState::Load(*work->view, session));
  if (!loaded.has_value()) return nullptr;
  work->changed.insert(session);
  return sessions_.Insert(session, *std::move(loaded));
}

absl::StatusOr<SessionState*> IndexBuilder::MakeSession(
    const base::Uuid& session, int64_t start_time_us, log::Position position,
    Work* work) {
  work->state.set_sessions(work->state.sessions() + 1);
  work->changed.insert(session);
  return sessions_.Insert(session, SessionState(options_.index_keys, session,
                                                start_time_us, position));
}

template <typename Header>
absl::StatusOr<SessionState*> IndexBuilder::ParseAndFind(
    const StoredRecord& record, Header* header, Work* work) {
  absl::StatusOr<base::Uuid> id = absl::InvalidArgumentError("");
  if (header->ParseFromString(record.header)) {
    id = base::Uuid::FromBytes(header->session_id());
  }
  if (!id.ok()) {
    work->state.set_unreadable_headers(work->state.unreadable_headers() + 1);
    return nullptr;
  }
  ASSIGN_OR_RETURN(SessionState * session, FindSession(*id, work));
  if (session != nullptr) return session;
  // Its opening was lost to damage: better found at about its time than never.
  ASSIGN_OR_RETURN(session, MakeSession(*id, header->record_time_us(),
                                        record.position, work));
  session->MarkOpeningLost();
  return session;
}

template <typename Message>
bool IndexBuilder::OpenBody(const SessionState& session, uint64_t epoch,
                            uint32_t segment, const StoredRecord& record,
                            Message* message, Work* work) {
  bool found = false;
  const uint64_t key_position = KeyPositionOf(session.row(), epoch, &found);
  const absl::StatusOr<base::Uuid> id =
      base::Uuid::FromBytes(session.row().session_id());
  if (found && id.ok()) {
    const absl::StatusOr<std::string> plain =
        openers_.OpenMetadata(*id, epoch, key_position, segment, record);
    if (plain.ok() && message->ParseFromString(*plain)) return true;
  }
  work->state.set_unopened_records(work->state.unopened_records() + 1);
  return false;
}

absl::Status IndexBuilder::AddToDictionary(const stored::v1::NoteList& list,
                                           Work* work) {
  for (const auto& note : list.notes()) {
    if (!note.has_tag() || IsPersonalKey(note.tag().key())) continue;
    const std::string& key = note.tag().key();
    auto known = dictionary_.find(key);
    if (known == dictionary_.end()) {
      // A gateway may make up keys without end; what is forgotten is read
      // again.
      if (dictionary_.size() >= limits::kMaxDictionaryKeys) dictionary_.clear();
      ASSIGN_OR_RETURN(
          const std::vector<std::string> tokens,
          work->view->DictionaryTokens(key, limits::kMaxDictionaryValues + 1));
      known =
          dictionary_
              .emplace(key, std::set<std::string>(tokens.begin(), tokens.end()))
              .first;
    }
    for (const std::string& value : note.tag().values()) {
      // One over the limit says that there are too many; more say no more.
      if (known->second.size() > limits::kMaxDictionaryValues) break;
      if (value.empty() || value.size() > limits::kMaxTagValue_bytes) continue;
      if (!known->second.insert(options_.index_keys->Token(key, value))
               .second) {
        continue;
      }
      std::string row_key = DictionaryKey(*options_.index_keys, key, value);
      std::string sealed = options_.index_keys->SealRow(
          RowContext(Family::kDictionary, row_key), value);
      work->batch.Put(Family::kDictionary, std::move(row_key),
                      std::move(sealed));
    }
  }
  return absl::OkStatus();
}

absl::Status IndexBuilder::ApplySnapshot(const StoredRecord& record,
                                         Work* work) {
  stored::v1::Snapshot snapshot;
  if (!snapshot.ParseFromString(record.body)) {
    work->state.set_unreadable_headers(work->state.unreadable_headers() + 1);
    return absl::OkStatus();
  }
  // Says nothing new unless damage has hidden how a session began.
  for (const auto& open : snapshot.open_sessions()) {
    const absl::StatusOr<base::Uuid> id =
        base::Uuid::FromBytes(open.session_id());
    if (!id.ok()) continue;
    ASSIGN_OR_RETURN(SessionState * session, FindSession(*id, work));
    if (session == nullptr) {
      ASSIGN_OR_RETURN(session, MakeSession(*id, open.start_time_us(),
                                            record.position, work));
      session->MarkOpeningLost();
    }
    session->AddEpoch(open.epoch(), open.key_position());
  }
  return absl::OkStatus();
}

absl::Status IndexBuilder::ApplyKeysChanged(const StoredRecord& record,
                                            Work* work) {
  stored::v1::KeysChanged changed;
  if (!changed.ParseFromString(record.header)) {
    work->state.set_unreadable_headers(work->state.unreadable_headers() + 1);
    return absl::OkStatus();
  }
  for (const stored::v1::Rewrap& rewrap : changed.rewraps()) {
    const absl::StatusOr<base::Uuid> id =
        base::Uuid::FromBytes(rewrap.session_id());
    if (!id.ok()) continue;
    // Of a session that damage has hidden nothing else is known either.
    ASSIGN_OR_RETURN(SessionState * session, FindSession(*id, work));
    if (session == nullptr) continue;
    session->MoveKeys(rewrap.epoch(), rewrap.key_position());
    openers_.Forget(*id, rewrap.epoch());
  }
  return absl::OkStatus();
}

absl::Status IndexBuilder::ApplyRecord(const StoredRecord& record, Work* work) {
  switch (record.type) {
    case RecordType::kSessionOpened: {
      stored::v1::SessionOpened opened;
      absl::StatusOr<base::Uuid> id = absl::InvalidArgumentError("");
      if (opened.ParseFromString(record.header)) {
        id = base::Uuid::FromBytes(opened.session_id());
      }
      if (!id.ok()) {
        work->state.set_unreadable_headers(work->state.unreadable_headers() +
                                           1);
        return absl::OkStatus();
      }
      ASSIGN_OR_RETURN(SessionState * session, FindSession(*id, work));
      if (session == nullptr) {
        ASSIGN_OR_RETURN(session, MakeSession(*id, opened.start_time_us(),
                                              record.position, work));
      }
      session->ApplyOpened(opened);
      session->NoteRecord(record.type, record.position);
      return absl::OkStatus();
    }
    case RecordType::kSpanStarted: {
      stored::v1::SpanStarted span;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &span, work));
      if (session == nullptr) return absl::OkStatus();
      session->NoteRecord(record.type, record.position);
      stored::v1::SpanDescription description;
      const bool opened = OpenBody(*session, span.epoch(), span.segment(),
                                   record, &description, work);
      session->ApplySpan(span, opened ? &description : nullptr, record.position,
                         &work->batch);
      return absl::OkStatus();
    }
    case RecordType::kChunk: {
      stored::v1::Chunk chunk;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &chunk, work));
      if (session != nullptr) session->ApplyChunk(chunk, record, &work->batch);
      return absl::OkStatus();
    }
    case RecordType::kNotes: {
      stored::v1::Notes notes;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &notes, work));
      if (session == nullptr) return absl::OkStatus();
      session->NoteRecord(record.type, record.position);
      stored::v1::NoteList list;
      const uint32_t refused = session->row().refused_tag_notes();
      const bool opened = OpenBody(*session, notes.epoch(), notes.segment(),
                                   record, &list, work);
      session->ApplyNotes(notes, opened ? &list : nullptr, record.position,
                          &work->batch);
      work->state.set_refused_tag_notes(work->state.refused_tag_notes() +
                                        session->row().refused_tag_notes() -
                                        refused);
      return AddToDictionary(list, work);
    }
    case RecordType::kAttachmentPart: {
      stored::v1::AttachmentPart part;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &part, work));
      if (session != nullptr) {
        session->NoteRecord(record.type, record.position);
        session->ApplyAttachmentPart(part, record.position, &work->batch);
      }
      return absl::OkStatus();
    }
    case RecordType::kSegment: {
      stored::v1::Segment segment;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &segment, work));
      if (session != nullptr &&
          session->ApplySegment(segment, record.position)) {
        work->state.set_segments(work->state.segments() + 1);
      }
      return absl::OkStatus();
    }
    case RecordType::kSessionClosed: {
      stored::v1::SessionClosed closed;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &closed, work));
      if (session != nullptr) {
        session->ApplyClosed(closed, record.position, &work->batch);
      }
      return absl::OkStatus();
    }
    case RecordType::kStateChanged: {
      stored::v1::StateChanged changed;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &changed, work));
      if (session != nullptr) {
        session->NoteRecord(record.type, record.position);
        session->ApplyStateChanged(changed, record.position, &work->batch);
      }
      return absl::OkStatus();
    }
    case RecordType::kClockChanged: {
      stored::v1::ClockChanged changed;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &changed, work));
      if (session != nullptr) {
        session->NoteRecord(record.type, record.position);
        session->ApplyClockChanged(changed, record.position, &work->batch);
      }
      return absl::OkStatus();
    }
    case RecordType::kSourceDigest: {
      stored::v1::SourceDigest digest;
      ASSIGN_OR_RETURN(SessionState* const session,
                       ParseAndFind(record, &digest, work));
      if (session != nullptr) {
        session->ApplySourceDigest(digest);
        session->NoteRecord(record.type, record.position);
      }
      return absl::OkStatus();
    }
    case RecordType::kSnapshot:
      return ApplySnapshot(record, work);
    case RecordType::kKeysChanged:
      return ApplyKeysChanged(record, work);
    case RecordType::kVolumeHeader:
    case RecordType::kAccess:
    case RecordType::kKeyWraps:
      return absl::OkStatus();
  }
  // A type that a later program writes.
  return absl::OkStatus();
}

}  // namespace diptych::indexer
