#include "indexer/builder/rebuild_pass.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/lru_cache.h"
#include "indexer/builder/opener_cache.h"
#include "indexer/builder/rebuild_checkpoint.h"
#include "indexer/builder/rebuild_worker.h"
#include "indexer/builder/session_record.h"
#include "indexer/builder/turn_allocator.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using log::RecordType;
using log::StoredRecord;

// Tasks are handed over so many at a time.
constexpr size_t kTasksAtATime = 256;
// Records between two looks at the clock and words about progress.
constexpr uint64_t kRecordsPerLook = 4096;

uint8_t WorkerOf(SessionNumber number) {
  return static_cast<uint8_t>((number.second() + number.turn()) %
                              limits::kRebuildWorkers);
}

// The pass, as the one thread that reads has it.
class Pass {
 public:
  Pass(const RebuildPassOptions& options, log::Position until,
       RebuildCheckpoints* checkpoints)
      : options_(options), until_(until), checkpoints_(checkpoints) {}

  absl::StatusOr<RebuildPassResult> Run();

 private:
  struct Known {
    SessionNumber number;
    uint8_t worker = 0;
    // Its rows are written: what comes now is late.
    bool written = false;
    // Its worker has not heard of it yet.
    bool to_begin = false;
  };
  // An open session and where it begins.
  using OpenSessions = LruCache<base::Uuid, log::Position>;

  absl::Status Restore();
  absl::Status MakeWorkers();
  // False if the log is not the one that the checkpoint is of, or if reading it
  // again may give more: what was damaged may be mended, and a key be there.
  absl::StatusOr<bool> CheckpointFits() const;

  absl::Status TakeRecord(StoredRecord&& record);
  absl::Status TakeSessionRecord(StoredRecord&& record);
  absl::Status TakeSnapshot(const StoredRecord& record);
  absl::Status TakeKeysChanged(const StoredRecord& record);
  absl::Status TakeDamage(const log::Damage& damage);
  // True for what lies before the checkpoint: of that only open sessions'
  // records are wanted.
  bool ReadBefore(log::Position position) const {
    return position < counted_to_;
  }

  // The session, made if it is not known; nullptr, and counted, if there is no
  // number left for it.
  absl::StatusOr<Known*> Meet(const base::Uuid& session, int64_t start_time_us,
                              bool opens, log::Position position);
  absl::Status EndSession(const base::Uuid& session, Known* known);
  absl::Status GiveTask(size_t worker, RebuildTask task);
  absl::Status GiveAll();
  absl::Status LookAround(log::Position next);
  absl::Status SaveCheckpoint(log::Position next);

  const RebuildPassOptions& options_;
  const log::Position until_;
  RebuildCheckpoints* const checkpoints_;

  RebuildCheckpoint checkpoint_;
  std::array<std::unique_ptr<RebuildWorker>, limits::kRebuildWorkers> workers_;
  std::array<std::vector<RebuildTask>, limits::kRebuildWorkers> tasks_;
  absl::flat_hash_map<base::Uuid, Known> known_;
  OpenSessions open_;
  // Sessions of known_ that have yet to begin.
  size_t to_begin_ = 0;
  TurnAllocator turns_;
  // What the reading thread itself counts, on top of the workers'.
  stored::v1::IndexState state_;
  // The last record with a header.
  log::Position last_position_ = 0;
  std::string last_header_;
  log::Position counted_to_ = 0;
  uint64_t records_ = 0;
  absl::Duration saved_at_;
};

absl::StatusOr<bool> Pass::CheckpointFits() const {
  const stored::v1::IndexState& state = checkpoint_.state;
  if (state.position() > until_) return false;
  if (state.damage_count() > 0 || state.unopened_records() > 0 ||
      state.unreadable_headers() > 0) {
    return false;
  }
  if (state.last_header_sha256().empty()) return true;
  std::optional<std::string> header;
  const absl::Status stop = absl::CancelledError();
  const absl::StatusOr<log::Position> scanned = options_.log->Scan(
      {.from = state.last_record_position(), .bodies = false},
      [&](const StoredRecord& record) {
        if (record.position == state.last_record_position()) {
          header = record.header;
        }
        return stop;
      },
      [&](const log::Damage&) { return stop; });
  if (!scanned.ok() && scanned.status() != stop) return scanned.status();
  return header.has_value() &&
         base::Sha256(*header) == state.last_header_sha256();
}

absl::Status Pass::Restore() {
  const std::string identity =
      RebuildIdentity(options_.archive_id, options_.index_keys->Fingerprint());
  ASSIGN_OR_RETURN(checkpoint_, checkpoints_->Load(identity));
  ASSIGN_OR_RETURN(const bool fits, CheckpointFits());
  if (!fits) {
    RETURN_IF_ERROR(checkpoints_->Clear());
    ASSIGN_OR_RETURN(*checkpoints_,
                     RebuildCheckpoints::Open(checkpoints_->folder()));
    ASSIGN_OR_RETURN(checkpoint_, checkpoints_->Load(identity));
  }
  counted_to_ = checkpoint_.state.position();
  state_ = checkpoint_.state;
  known_.reserve(checkpoint_.met.size());
  for (const MetSession& met : checkpoint_.met) {
    turns_.Mark(met.number);
    known_[met.session] = {met.number, WorkerOf(met.number),
                           /*written=*/true, /*to_begin=*/false};
  }
  for (const base::Uuid& open : checkpoint_.open) {
    Known& known = known_[open];
    known.written = false;
    known.to_begin = true;
    ++to_begin_;
  }
  return absl::OkStatus();
}

absl::Status Pass::MakeWorkers() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    std::vector<seal::KeyPair> keys;
    for (const seal::KeyPair& key : *options_.recipient_keys) {
      keys.push_back(key.Clone());
    }
    workers_[i] = std::make_unique<RebuildWorker>(
        options_.index_keys,
        std::make_unique<OpenerCache>(options_.archive_id, options_.log,
                                      options_.key_store, std::move(keys)),
        absl::StrCat(checkpoints_->folder(), "/run.", i), options_.room);
    workers_[i]->Restore(checkpoint_.runs[i], checkpoint_.next_file[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<RebuildPassResult> Pass::Run() {
  RETURN_IF_ERROR(Restore());
  RETURN_IF_ERROR(MakeWorkers());
  saved_at_ = options_.clock->Monotonic();
  log::Position end = counted_to_;
  if (counted_to_ < until_ || !checkpoint_.open.empty()) {
    const log::Position from =
        checkpoint_.open.empty() ? counted_to_ : checkpoint_.read_from;
    ASSIGN_OR_RETURN(end, options_.log->Scan(
                              {.from = from, .until = until_, .bodies = false},
                              [&](StoredRecord&& record) {
                                const log::Position next = record.end;
                                RETURN_IF_ERROR(TakeRecord(std::move(record)));
                                return LookAround(next);
                              },
                              [&](const log::Damage& damage) {
                                return TakeDamage(damage);
                              }));
  }
  if (to_begin_ > 0) {
    RETURN_IF_ERROR(checkpoints_->Clear());
    return base::IntegrityError(
        "the log has lost records that a rebuild had read before");
  }
  // Those that are open are written as they stand; who follows the log from
  // here loads them again.
  while (const auto* oldest = open_.Oldest()) {
    const base::Uuid session = oldest->first;
    RETURN_IF_ERROR(EndSession(session, &known_[session]));
  }
  RETURN_IF_ERROR(SaveCheckpoint(std::max(end, counted_to_)));
  RebuildPassResult result;
  for (const FamilyRuns& runs : checkpoint_.runs) {
    for (size_t i = 0; i < kFamilies; ++i) {
      result.runs[i].insert(result.runs[i].end(), runs[i].begin(),
                            runs[i].end());
    }
  }
  result.state = checkpoint_.state;
  result.late = checkpoint_.late;
  return result;
}

absl::Status Pass::TakeRecord(StoredRecord&& record) {
  const log::Position position = record.position;
  if (IndexBuilder::NeedsBody(record.type) &&
      record.type != RecordType::kSnapshot) {
    // The scan leaves bodies out, since nearly all of them are media.
    absl::StatusOr<StoredRecord> whole =
        options_.log->Read(position, record.end - position);
    if (absl::IsDataLoss(whole.status())) {
      return TakeDamage({.from = position,
                         .to = record.end,
                         .volume = "",
                         .what = "body checksum differs",
                         .was_durable = true});
    }
    RETURN_IF_ERROR(whole.status());
    record = *std::move(whole);
  }
  // An empty header would say nothing of the log.
  if (!record.header.empty() && !ReadBefore(position)) {
    last_position_ = position;
    last_header_ = record.header;
  }
  if (record.type == RecordType::kSnapshot) return TakeSnapshot(record);
  if (record.type == RecordType::kKeysChanged) return TakeKeysChanged(record);
  if (!IsOfSession(record.type)) return absl::OkStatus();
  return TakeSessionRecord(std::move(record));
}

absl::Status Pass::TakeSessionRecord(StoredRecord&& record) {
  const log::Position position = record.position;
  std::optional<base::Uuid> id = SessionIdOf(record);
  auto found = id.has_value() ? known_.find(*id) : known_.end();
  const bool closes = record.type == RecordType::kSessionClosed;
  Known* known = nullptr;
  if (found == known_.end() || found->second.to_begin || closes) {
    // What changes who is known must be understood whole.
    const std::optional<SessionRecord> parsed = ParseSessionRecord(record);
    if (!parsed.has_value()) {
      if (!ReadBefore(position)) {
        state_.set_unreadable_headers(state_.unreadable_headers() + 1);
      }
      return absl::OkStatus();
    }
    id = parsed->session;
    if (ReadBefore(position) && !known_.contains(*id)) return absl::OkStatus();
    ASSIGN_OR_RETURN(known,
                     Meet(*id, parsed->start_time_us, parsed->opens, position));
    if (known == nullptr) return absl::OkStatus();
  } else {
    known = &found->second;
  }
  if (known->written) {
    if (!ReadBefore(position)) checkpoint_.late.push_back(position);
    return absl::OkStatus();
  }
  open_.Find(*id);
  RebuildTask task;
  task.kind = RebuildTask::Kind::kRecord;
  task.session = *id;
  task.record = std::move(record);
  RETURN_IF_ERROR(GiveTask(known->worker, std::move(task)));
  if (closes) return EndSession(*id, known);
  if (open_.size() <= limits::kRebuildSessions) return absl::OkStatus();
  const base::Uuid oldest = open_.Oldest()->first;
  return EndSession(oldest, &known_[oldest]);
}

absl::StatusOr<Pass::Known*> Pass::Meet(const base::Uuid& session,
                                        int64_t start_time_us, bool opens,
                                        log::Position position) {
  auto found = known_.find(session);
  if (found != known_.end() && !found->second.to_begin) return &found->second;
  if (found == known_.end()) {
    const uint32_t second = SessionNumber::SecondOf(start_time_us);
    ASSIGN_OR_RETURN(const std::optional<SessionNumber> number,
                     turns_.Next(second));
    if (!number.has_value()) {
      state_.set_unreadable_headers(state_.unreadable_headers() + 1);
      return nullptr;
    }
    state_.set_sessions(state_.sessions() + 1);
    state_.set_max_displacement_s(
        std::max(state_.max_displacement_s(), number->second() - second));
    checkpoint_.met.push_back({session, *number});
    found = known_.emplace(session, Known{*number, WorkerOf(*number)}).first;
  }
  Known& known = found->second;
  if (std::exchange(known.to_begin, false)) --to_begin_;
  open_.Insert(session, position);
  RebuildTask task;
  task.kind = RebuildTask::Kind::kBegin;
  task.session = session;
  task.number = known.number;
  task.start_time_us = start_time_us;
  task.opening_lost = !opens;
  task.record.position = position;
  RETURN_IF_ERROR(GiveTask(known.worker, std::move(task)));
  return &known;
}

absl::Status Pass::EndSession(const base::Uuid& session, Known* known) {
  known->written = true;
  open_.Erase(session);
  RebuildTask task;
  task.kind = RebuildTask::Kind::kEnd;
  task.session = session;
  return GiveTask(known->worker, std::move(task));
}

absl::Status Pass::TakeSnapshot(const StoredRecord& record) {
  stored::v1::Snapshot snapshot;
  const bool before = ReadBefore(record.position);
  if (!snapshot.ParseFromString(record.body)) {
    if (!before) {
      state_.set_unreadable_headers(state_.unreadable_headers() + 1);
    }
    return absl::OkStatus();
  }
  bool late = false;
  for (const auto& open : snapshot.open_sessions()) {
    const absl::StatusOr<base::Uuid> id =
        base::Uuid::FromBytes(open.session_id());
    if (!id.ok() || (before && !known_.contains(*id))) continue;
    ASSIGN_OR_RETURN(Known* const known,
                     Meet(*id, open.start_time_us(),
                          /*opens=*/false, record.position));
    if (known == nullptr) continue;
    if (known->written) {
      late = true;
      continue;
    }
    RebuildTask task;
    task.kind = RebuildTask::Kind::kEpoch;
    task.session = *id;
    task.epoch = open.epoch();
    task.key_position = open.key_position();
    RETURN_IF_ERROR(GiveTask(known->worker, std::move(task)));
  }
  if (late && !before) checkpoint_.late.push_back(record.position);
  return absl::OkStatus();
}

absl::Status Pass::TakeKeysChanged(const StoredRecord& record) {
  stored::v1::KeysChanged changed;
  const bool before = ReadBefore(record.position);
  if (!changed.ParseFromString(record.header)) {
    if (!before) {
      state_.set_unreadable_headers(state_.unreadable_headers() + 1);
    }
    return absl::OkStatus();
  }
  // All of them are late: one that came later must not be undone by one that
  // came before and is taken in after it.
  if (!before) checkpoint_.late.push_back(record.position);
  for (const stored::v1::Rewrap& rewrap : changed.rewraps()) {
    const absl::StatusOr<base::Uuid> id =
        base::Uuid::FromBytes(rewrap.session_id());
    if (!id.ok()) continue;
    const auto found = known_.find(*id);
    if (found == known_.end() || found->second.written ||
        found->second.to_begin) {
      continue;
    }
    RebuildTask task;
    task.kind = RebuildTask::Kind::kMoveKeys;
    task.session = *id;
    task.epoch = rewrap.epoch();
    task.key_position = rewrap.key_position();
    RETURN_IF_ERROR(GiveTask(found->second.worker, std::move(task)));
  }
  return absl::OkStatus();
}

absl::Status Pass::TakeDamage(const log::Damage& damage) {
  if (ReadBefore(damage.from)) return absl::OkStatus();
  const auto& known = state_.damages();
  if (std::any_of(known.begin(), known.end(),
                  [&](const auto& row) { return row.from() == damage.from; })) {
    return absl::OkStatus();
  }
  state_.set_damage_count(state_.damage_count() + 1);
  if (known.size() < limits::kMaxRememberedDamages) {
    stored::v1::DamageRow* row = state_.add_damages();
    row->set_from(damage.from);
    row->set_to(damage.to);
  }
  return absl::OkStatus();
}

absl::Status Pass::GiveTask(size_t worker, RebuildTask task) {
  tasks_[worker].push_back(std::move(task));
  if (tasks_[worker].size() < kTasksAtATime) return absl::OkStatus();
  return workers_[worker]->Give(std::exchange(tasks_[worker], {}));
}

absl::Status Pass::GiveAll() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    RETURN_IF_ERROR(workers_[i]->Give(std::exchange(tasks_[i], {})));
  }
  return absl::OkStatus();
}

absl::Status Pass::LookAround(log::Position next) {
  const bool much = next > counted_to_ + options_.pace.checkpoint_bytes;
  if (++records_ % kRecordsPerLook != 0 && !much) return absl::OkStatus();
  RETURN_IF_ERROR(options_.on_progress(next));
  if (!much && options_.clock->Monotonic() - saved_at_ <
                   options_.pace.checkpoint_every) {
    return absl::OkStatus();
  }
  // Before that there is nothing new.
  if (next <= counted_to_) return absl::OkStatus();
  // One that has yet to begin is neither open nor written, and would be lost.
  if (to_begin_ > 0) return absl::OkStatus();
  return SaveCheckpoint(next);
}

absl::Status Pass::SaveCheckpoint(log::Position next) {
  RETURN_IF_ERROR(GiveAll());
  for (size_t i = 0; i < workers_.size(); ++i) {
    RETURN_IF_ERROR(workers_[i]->Settle());
    checkpoint_.runs[i] = workers_[i]->writer().runs();
    checkpoint_.next_file[i] = workers_[i]->writer().next_file();
    const RebuildWorker::Counts counts = workers_[i]->TakeCounts();
    state_.set_segments(state_.segments() + counts.records.segments);
    state_.set_unopened_records(state_.unopened_records() +
                                counts.records.unopened_records);
    state_.set_refused_tag_notes(state_.refused_tag_notes() +
                                 counts.records.refused_tag_notes);
    state_.set_unreadable_headers(state_.unreadable_headers() +
                                  counts.unreadable_headers);
  }
  state_.set_position(next);
  if (!last_header_.empty()) {
    state_.set_last_record_position(last_position_);
    state_.set_last_header_sha256(base::Sha256(last_header_));
  }
  checkpoint_.state = state_;
  checkpoint_.read_from = next;
  checkpoint_.open.clear();
  open_.ForEach([&](const base::Uuid& session, log::Position begins) {
    checkpoint_.open.push_back(session);
    checkpoint_.read_from = std::min(checkpoint_.read_from, begins);
  });
  RETURN_IF_ERROR(checkpoints_->Save(checkpoint_));
  counted_to_ = next;
  saved_at_ = options_.clock->Monotonic();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RebuildPassResult> ReadLogForRebuild(
    const RebuildPassOptions& options, log::Position until,
    RebuildCheckpoints* checkpoints) {
  return Pass(options, until, checkpoints).Run();
}

}  // namespace diptych::indexer
