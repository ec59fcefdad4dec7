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
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/session_record.h"
#include "indexer/builder/session_state.h"
#include "indexer/builder/turn_allocator.h"
#include "indexer/store/change_row.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/session_number.h"
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
  work.turns = std::make_unique<TurnAllocator>(
      [&](uint32_t second) { return work.view->TurnsTaken(second); });
  absl::Status status = ApplyAll(records, damages, next, &work);
  if (!status.ok()) {
    // What is at hand is ahead of the store.
    sessions_.ShrinkTo(0);
    dictionary_.clear();
    oldest_change_us_ = 0;
    return status;
  }
  state_ = std::move(work.state);
  for (const auto& [id, session] : work.changed) {
    if (session->closed()) sessions_.Erase(id);
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
  for (const auto& [id, session] : work->changed) session->Flush(&work->sink);
  work->sink.Finish();
  stored::v1::IndexState& state = work->state;
  state.set_segments(state.segments() + work->counts.segments);
  state.set_unopened_records(state.unopened_records() +
                             work->counts.unopened_records);
  state.set_refused_tag_notes(state.refused_tag_notes() +
                              work->counts.refused_tag_notes);
  RETURN_IF_ERROR(PutChanges(next, work));
  state.set_position(next);
  work->batch.Put(Family::kMeta, std::string(kStateKey),
                  state.SerializeAsString());
  return options_.store->Write(work->batch);
}

absl::Status IndexBuilder::PutChanges(log::Position next, Work* work) {
  if (work->touched.empty()) return absl::OkStatus();
  ChangeRow change;
  change.time_us = absl::ToUnixMicros(options_.clock->Now());
  change.sessions = std::move(work->touched);
  std::sort(change.sessions.begin(), change.sessions.end());
  change.sessions.erase(
      std::unique(change.sessions.begin(), change.sessions.end()),
      change.sessions.end());
  work->batch.Put(Family::kChanges, ChangesKey(next), PackChange(change));
  return TrimChanges(change.time_us, work);
}

absl::Status IndexBuilder::TrimChanges(int64_t now_us, Work* work) {
  const int64_t kept_us =
      now_us - absl::ToInt64Microseconds(limits::kChangesKept);
  if (oldest_change_us_ > kept_us) return absl::OkStatus();
  // From where on there are any: what was forgotten needn't be passed over.
  const std::string from = ChangesKey(work->state.changes_from());
  const auto rows =
      work->view->snapshot().NewIterator(Family::kChanges, from, "");
  size_t trimmed = 0;
  oldest_change_us_ = now_us;
  for (rows->Seek(from); rows->Valid(); rows->Next()) {
    ASSIGN_OR_RETURN(const ChangeRow row, UnpackChange(rows->value()));
    if (row.time_us > kept_us || trimmed == limits::kTrimmedPerBatch) {
      oldest_change_us_ = row.time_us;
      break;
    }
    ++trimmed;
    work->state.set_changes_from(ReadBigEndian64(rows->key()));
    work->batch.Delete(Family::kChanges, std::string(rows->key()));
  }
  return rows->status();
}

absl::StatusOr<SessionState*> IndexBuilder::FindSession(
    const base::Uuid& session, Work* work) {
  const auto changed = work->changed.find(session);
  if (changed != work->changed.end()) return changed->second;
  SessionState* known = sessions_.Find(session);
  if (known == nullptr) {
    ASSIGN_OR_RETURN(std::optional<SessionState> loaded,
                     SessionState::Load(*work->view, session));
    if (!loaded.has_value()) return nullptr;
    known = sessions_.Insert(session, *std::move(loaded));
  }
  work->changed[session] = known;
  return known;
}

absl::StatusOr<SessionState*> IndexBuilder::MakeSession(
    const base::Uuid& session, int64_t start_time_us, log::Position position,
    Work* work) {
  const uint32_t second = SessionNumber::SecondOf(start_time_us);
  ASSIGN_OR_RETURN(const std::optional<SessionNumber> number,
                   work->turns->Next(second));
  if (!number.has_value()) {
    work->state.set_unreadable_headers(work->state.unreadable_headers() + 1);
    return nullptr;
  }
  work->state.set_sessions(work->state.sessions() + 1);
  work->state.set_max_displacement_s(
      std::max(work->state.max_displacement_s(), number->second() - second));
  SessionState* const made =
      sessions_.Insert(session, SessionState(options_.index_keys, session,
                                             *number, start_time_us, position));
  work->changed[session] = made;
  work->touched.push_back(*number);
  return made;
}

absl::Status IndexBuilder::AddToDictionary(TagNotes notes, Work* work) {
  for (const stored::v1::TagNote* const note : notes) {
    if (IsPersonalKey(note->key())) continue;
    const std::string& key = note->key();
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
    for (const std::string& value : note->values()) {
      // One over the limit says that there are too many; more say no more.
      if (known->second.size() > limits::kMaxDictionaryValues) break;
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
      if (session == nullptr) continue;
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
  if (record.type == RecordType::kSnapshot) return ApplySnapshot(record, work);
  if (record.type == RecordType::kKeysChanged) {
    return ApplyKeysChanged(record, work);
  }
  if (!IsOfSession(record.type)) return absl::OkStatus();
  const std::optional<SessionRecord> parsed = ParseSessionRecord(record);
  if (!parsed.has_value()) {
    work->state.set_unreadable_headers(work->state.unreadable_headers() + 1);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(SessionState * session, FindSession(parsed->session, work));
  if (session == nullptr) {
    ASSIGN_OR_RETURN(session,
                     MakeSession(parsed->session, parsed->start_time_us,
                                 record.position, work));
    if (session == nullptr) return absl::OkStatus();
    // Its opening was lost to damage.
    if (!parsed->opens) session->MarkOpeningLost();
  }
  work->touched.push_back(session->number());
  absl::Status dictionary;
  ApplySessionRecord(
      *parsed, record, &openers_, session, &work->sink, &work->counts,
      [&](TagNotes notes) { dictionary = AddToDictionary(notes, work); });
  return dictionary;
}

}  // namespace diptych::indexer
