#include "indexer/builder/rebuild.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/store/index_store.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

absl::Status Failed(const std::string& what, const std::error_code& error) {
  return absl::InternalError(absl::StrCat(what, ": ", error.message()));
}

absl::Status RemoveFolder(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return Failed(absl::StrCat("removing ", path), error);
  return absl::OkStatus();
}

// Puts `fresh` where `index` is; what was there is then at `fresh`.
absl::Status Swap(const std::string& fresh, const std::string& index,
                  const std::string& parent) {
  const bool exchange = fs::exists(index);
  // Exchanging leaves no moment without an index.
  if (renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, index.c_str(),
                exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0) {
    const int exchange_error = errno;
    // A file system that can't: a start in between would only begin anew.
    std::error_code error;
    const std::string old = absl::StrCat(index, ".old");
    RETURN_IF_ERROR(RemoveFolder(old));
    if (exchange) fs::rename(index, old, error);
    if (!error) fs::rename(fresh, index, error);
    if (error) {
      return absl::InternalError(absl::StrCat("moving ", fresh, " to ", index,
                                              ": ",
                                              std::strerror(exchange_error)));
    }
    if (exchange) RETURN_IF_ERROR(RemoveFolder(old));
  }
  return base::FileSystem::Real()->SyncDirectory(parent);
}

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

absl::StatusOr<stored::v1::IndexState> Build(const RebuildOptions& options,
                                             const std::string& directory) {
  base::FileSystem* const files = base::FileSystem::Real();
  const log::LogReader log(files,
                           absl::StrCat(options.data_directory, "/volumes"));
  const log::LogReader key_store(
      files, absl::StrCat(options.data_directory, "/keystore"));
  ASSIGN_OR_RETURN(const log::Position log_end, FindLogEnd(log));
  ASSIGN_OR_RETURN(const std::unique_ptr<IndexStore> store,
                   IndexStore::Open(directory, options.archive_id));
  IndexBuilder::Options builder_options;
  builder_options.archive_id = options.archive_id;
  builder_options.store = store.get();
  builder_options.index_keys = options.index_keys;
  builder_options.log = &log;
  builder_options.key_store = &key_store;
  for (const seal::KeyPair& key : options.recipient_keys) {
    builder_options.recipient_keys.push_back(key.Clone());
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<IndexBuilder> builder,
                   IndexBuilder::Create(std::move(builder_options)));
  LogPump pump(&log, builder.get(), limits::kIndexBatch_records);
  RETURN_IF_ERROR(pump.PumpUntil(log_end,
                                 [&](log::Position done) {
                                   if (!options.on_progress) {
                                     return absl::OkStatus();
                                   }
                                   return options.on_progress(done, log_end);
                                 })
                      .status());
  RETURN_IF_ERROR(store->Flush());
  return builder->state();
}

}  // namespace

absl::StatusOr<stored::v1::IndexState> RebuildIndex(
    const RebuildOptions& options) {
  const std::string index = absl::StrCat(options.data_directory, "/index");
  const std::string fresh = absl::StrCat(index, ".rebuild");
  ASSIGN_OR_RETURN(
      const std::unique_ptr<base::FileLock> lock,
      base::FileLock::Acquire(absl::StrCat(options.data_directory, "/lock")));
  // The reading process holds no more than its own index.
  std::unique_ptr<IndexStore::DirectoryLock> index_lock;
  if (fs::exists(index)) {
    ASSIGN_OR_RETURN(index_lock, IndexStore::LockDirectory(index));
  }
  RETURN_IF_ERROR(RemoveFolder(fresh));
  absl::StatusOr<stored::v1::IndexState> state = Build(options, fresh);
  if (!state.ok()) {
    RemoveFolder(fresh).IgnoreError();
    return state;
  }
  RETURN_IF_ERROR(Swap(fresh, index, options.data_directory));
  // RocksDB's lock knows its file by name: let go before the name means
  // another.
  index_lock.reset();
  RETURN_IF_ERROR(RemoveFolder(fresh));
  return state;
}

}  // namespace diptych::indexer
