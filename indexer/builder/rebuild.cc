#include "indexer/builder/rebuild.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/disk_room.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/rebuild_checkpoint.h"
#include "indexer/builder/rebuild_pass.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using Phase = RebuildProgress::Phase;

// Where the log ends once the writer has started next: before a tail that a
// crash has torn, which it moves aside to write there again.
absl::StatusOr<log::Position> FindLogEnd(const log::LogReader& log) {
  ASSIGN_OR_RETURN(const auto volumes, log.ListVolumes());
  if (volumes.empty()) return 0;
  log::Position known_durable = 0;
  std::vector<log::Position> damages;
  ASSIGN_OR_RETURN(const log::Position end,
                   log.Scan(
                       {.from = volumes.back().base},
                       [&](const log::StoredRecord& record) {
                         known_durable =
                             std::max(known_durable, record.durable_before);
                         return absl::OkStatus();
                       },
                       [&](const log::Damage& damage) {
                         damages.push_back(damage.from);
                         return absl::OkStatus();
                       }));
  for (const log::Position damage : damages) {
    if (damage >= known_durable) return damage;
  }
  return end;
}

absl::Status WriteState(const stored::v1::IndexState& state,
                        IndexStore* store) {
  IndexBatch batch;
  batch.Put(Family::kMeta, std::string(kStateKey), state.SerializeAsString());
  return store->Write(batch);
}

absl::StatusOr<std::unique_ptr<IndexBuilder>> MakeBuilder(
    const RebuildSource& source, IndexStore* store) {
  IndexBuilder::Options options;
  options.archive_id = source.archive_id;
  options.store = store;
  options.index_keys = source.index_keys;
  options.log = source.log;
  options.key_store = source.key_store;
  for (const seal::KeyPair& key : *source.recipient_keys) {
    options.recipient_keys.push_back(key.Clone());
  }
  return IndexBuilder::Create(std::move(options));
}

// One record; its body only if the builder needs it.
absl::StatusOr<log::StoredRecord> ReadLate(const log::LogReader& log,
                                           log::Position position) {
  constexpr size_t kBlock_bytes = 64 << 10;
  log::StoredRecord record;
  const absl::Status stop = absl::CancelledError();
  const absl::StatusOr<log::Position> scanned = log.Scan(
      {.from = position, .bodies = false, .block_bytes = kBlock_bytes},
      [&](log::StoredRecord&& read) {
        record = std::move(read);
        return stop;
      },
      [&](const log::Damage&) { return stop; });
  if (!scanned.ok() && scanned.status() != stop) return scanned.status();
  if (record.position != position || record.end == 0) {
    return absl::DataLossError("a record that was read can't be read again");
  }
  if (!IndexBuilder::NeedsBody(record.type) ||
      record.type == log::RecordType::kSnapshot) {
    return record;
  }
  return log.Read(position, record.end - position);
}

// Takes the late records into a generation that has all others, and leaves it
// as if there had been none.
absl::Status TakeLate(const RebuildSource& source,
                      const RebuildPassResult& pass,
                      IndexGeneration* generation,
                      const RebuildProgressCallback& on_progress) {
  if (pass.late.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<IndexBuilder> builder,
                   MakeBuilder(source, generation));
  const log::Position end = pass.state.position();
  std::vector<log::StoredRecord> records;
  size_t bytes = 0;
  for (size_t i = 0; i < pass.late.size(); ++i) {
    ASSIGN_OR_RETURN(log::StoredRecord record,
                     ReadLate(*source.log, pass.late[i]));
    bytes += record.header.size() + record.body.size();
    const bool whole = record.type == log::RecordType::kKeysChanged ||
                       records.size() + 1 >= limits::kIndexBatch_records ||
                       bytes >= limits::kIndexBatch_bytes ||
                       i + 1 == pass.late.size();
    records.push_back(std::move(record));
    if (!whole) continue;
    RETURN_IF_ERROR(builder->Apply(records, {}, end));
    RETURN_IF_ERROR(on_progress({Phase::kCatchingUp, i + 1, pass.late.size()}));
    records.clear();
    bytes = 0;
  }
  stored::v1::IndexState state = builder->state();
  state.set_last_record_position(pass.state.last_record_position());
  state.set_last_header_sha256(pass.state.last_header_sha256());
  state.set_changes_from(end);
  IndexBatch batch;
  batch.Delete(Family::kChanges, ChangesKey(end));
  RETURN_IF_ERROR(generation->Write(batch));
  return WriteState(state, generation);
}

absl::StatusOr<std::unique_ptr<IndexGeneration>> TryToMake(
    const RebuildSource& source, log::Position until, IndexDatabase* store,
    const RebuildProgressCallback& on_progress,
    RebuildCheckpoints* checkpoints) {
  const DiskRoom room(base::FileSystem::Real(), source.work_folder,
                      source.reserve_bytes);
  RETURN_IF_ERROR(room.For(0));
  RebuildPassOptions pass_options;
  pass_options.room = &room;
  pass_options.archive_id = source.archive_id;
  pass_options.index_keys = source.index_keys;
  pass_options.log = source.log;
  pass_options.key_store = source.key_store;
  pass_options.recipient_keys = source.recipient_keys;
  pass_options.pace = source.pace;
  pass_options.on_progress = [&](log::Position done) {
    return on_progress({Phase::kReading, done, until});
  };
  ASSIGN_OR_RETURN(RebuildPassResult pass,
                   ReadLogForRebuild(pass_options, until, checkpoints));
  RETURN_IF_ERROR(on_progress({Phase::kReading, until, until}));

  ASSIGN_OR_RETURN(std::unique_ptr<IndexGeneration> generation,
                   store->BeginGeneration());
  RETURN_IF_ERROR(IngestRuns(
      pass.runs, absl::StrCat(source.work_folder, "/merge"), generation.get(),
      [&](uint64_t done, uint64_t total) {
        return on_progress({Phase::kWriting, done, total});
      },
      &room));
  IndexBatch batch;
  batch.Put(Family::kMeta, std::string(kFingerprintKey),
            source.index_keys->Fingerprint());
  RETURN_IF_ERROR(generation->Write(batch));
  pass.state.set_changes_from(pass.state.position());
  RETURN_IF_ERROR(WriteState(pass.state, generation.get()));
  RETURN_IF_ERROR(TakeLate(source, pass, generation.get(), on_progress));
  return generation;
}

}  // namespace

absl::StatusOr<std::unique_ptr<IndexGeneration>> MakeGeneration(
    const RebuildSource& source, log::Position until, IndexDatabase* store,
    const RebuildProgressCallback& on_progress) {
  ASSIGN_OR_RETURN(RebuildCheckpoints checkpoints,
                   RebuildCheckpoints::Open(source.work_folder));
  absl::StatusOr<std::unique_ptr<IndexGeneration>> generation =
      TryToMake(source, until, store, on_progress, &checkpoints);
  // Of damage the next attempt is to meet none of this; where the disk is full,
  // what is kept would leave the log no room.
  if (absl::IsDataLoss(generation.status()) ||
      absl::IsResourceExhausted(generation.status())) {
    RETURN_IF_ERROR(checkpoints.Clear());
  }
  return generation;
}

absl::Status ClearRebuildFiles(const RebuildSource& source) {
  ASSIGN_OR_RETURN(RebuildCheckpoints checkpoints,
                   RebuildCheckpoints::Open(source.work_folder));
  return checkpoints.Clear();
}

std::string RebuildFolder(absl::string_view index_directory) {
  // Beside it, not in it.
  while (index_directory.size() > 1 && index_directory.back() == '/') {
    index_directory.remove_suffix(1);
  }
  return absl::StrCat(index_directory, ".rebuild");
}

absl::StatusOr<stored::v1::IndexState> RebuildIndex(
    const RebuildOptions& options) {
  const std::string index = options.index_directory.empty()
                                ? absl::StrCat(options.data_directory, "/index")
                                : options.index_directory;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<base::FileLock> lock,
      base::FileLock::Acquire(absl::StrCat(options.data_directory, "/lock")));
  std::string why;
  ASSIGN_OR_RETURN(const std::unique_ptr<IndexDatabase> store,
                   OpenOrReplaceIndex(index, options.archive_id,
                                      NewerIndex::kReplace, &why));
  base::FileSystem* const files = base::FileSystem::Real();
  const log::LogReader log(files,
                           absl::StrCat(options.data_directory, "/volumes"));
  const log::LogReader key_store(
      files, absl::StrCat(options.data_directory, "/keystore"));
  ASSIGN_OR_RETURN(const log::Position log_end, FindLogEnd(log));
  RebuildSource source;
  source.archive_id = options.archive_id;
  source.index_keys = options.index_keys;
  source.log = &log;
  source.key_store = &key_store;
  source.recipient_keys = &options.recipient_keys;
  source.work_folder = RebuildFolder(index);
  source.pace = options.pace;
  ASSIGN_OR_RETURN(std::unique_ptr<IndexGeneration> generation,
                   MakeGeneration(source, log_end, store.get(),
                                  [&](const RebuildProgress& progress) {
                                    return options.on_progress
                                               ? options.on_progress(progress)
                                               : absl::OkStatus();
                                  }));
  RETURN_IF_ERROR(store->SwitchTo(std::move(generation)));
  RETURN_IF_ERROR(store->Flush());
  RETURN_IF_ERROR(ClearRebuildFiles(source));
  return IndexView(store.get(), options.index_keys).State();
}

}  // namespace diptych::indexer
