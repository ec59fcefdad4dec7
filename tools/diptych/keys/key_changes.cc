#include "tools/diptych/keys/key_changes.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/publisher.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::keys {

absl::StatusOr<std::unique_ptr<KeyChanges>> KeyChanges::Open(
    const std::string& data_dir, base::FileSystem* file_system,
    base::Clock* clock) {
  auto changes = absl::WrapUnique(new KeyChanges);
  changes->data_dir_ = data_dir;
  changes->clock_ = clock;
  // Also says it if this is no archive, before a lock file is left there.
  RETURN_IF_ERROR(seal::ReadArchiveConfig(data_dir).status());
  auto lock = base::FileLock::Acquire(absl::StrCat(data_dir, "/lock"));
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::UnavailableError(absl::StrCat(
        data_dir,
        " is in use: stop its daemon, run this again, and start it again"));
  }
  RETURN_IF_ERROR(lock.status());
  changes->lock_ = *std::move(lock);
  ASSIGN_OR_RETURN(changes->config_, seal::ReadArchiveConfig(data_dir));
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::FromBytes(changes->config_.archive_id()));

  const auto open_store = [&](const char* folder, const char* store,
                              log::Position known_durable)
      -> absl::StatusOr<std::unique_ptr<log::LogStore>> {
    log::RecoveryReport report;
    auto opened = log::OpenLocalLogStore(
        file_system, clock,
        {.directory = absl::StrCat(data_dir, "/", folder),
         .lost_and_found = absl::StrCat(data_dir, "/lost+found"),
         .archive_id = archive_id,
         .store = store,
         .volume_max_bytes = limits::kVolumeMax_bytes,
         .floor_bytes = limits::kDiskFloor_bytes,
         .known_durable = known_durable},
        &report);
    for (const log::Damage& damage : report.damages) {
      changes->remarks_.push_back(absl::StrCat(
          damage.volume, " from ", damage.from, " to ", damage.to, ": ",
          damage.what,
          damage.was_durable
              ? " (damage; left as it is)"
              : " (a torn tail, never acknowledged; moved aside)"));
    }
    return opened;
  };
  ASSIGN_OR_RETURN(changes->key_store_, open_store("keystore", "keys", 0));
  ASSIGN_OR_RETURN(changes->log_store_,
                   open_store("volumes", "log",
                              evidence::SignedUntil(
                                  file_system, absl::StrCat(data_dir, "/tlog"),
                                  evidence::LogOrigin(archive_id.ToString()),
                                  changes->config_.log_key().public_key())));
  changes->key_reader_ = std::make_unique<log::LogReader>(
      file_system, absl::StrCat(data_dir, "/keystore"));
  changes->log_reader_ = std::make_unique<log::LogReader>(
      file_system, absl::StrCat(data_dir, "/volumes"));
  uint64_t skipped = 0;
  ASSIGN_OR_RETURN(changes->open_sessions_,
                   log::RecoverOpenSessions(*changes->log_reader_, &skipped));
  RETURN_IF_ERROR(changes->OpenTree(file_system, archive_id));
  return changes;
}

absl::Status KeyChanges::OpenTree(base::FileSystem* file_system,
                                  const base::Uuid& archive_id) {
  if (!config_.has_log_key()) return absl::OkStatus();
  const std::string path = absl::StrCat(data_dir_, "/tls/log.key");
  ASSIGN_OR_RETURN(seal::SigningKey key, seal::ReadSigningKey(path));
  if (key.public_key() != config_.log_key().public_key()) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is not the key that archive.textproto names as the log's"));
  }
  ASSIGN_OR_RETURN(tree_,
                   evidence::TreePublisher::Open(
                       {.file_system = file_system,
                        .directory = absl::StrCat(data_dir_, "/tlog"),
                        .origin = evidence::LogOrigin(archive_id.ToString()),
                        .log = log_reader_.get(),
                        .durable_end = log_store_->durable_end()},
                       std::move(key)));
  return absl::OkStatus();
}

absl::Status KeyChanges::Replace(const stored::v1::ArchiveConfig& config) {
  RETURN_IF_ERROR(seal::ReplaceArchiveConfig(data_dir_, config));
  config_ = config;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<stored::v1::Rewrap>> KeyChanges::AppendWraps(
    const std::vector<stored::v1::KeyWraps>& wraps) {
  std::vector<log::Record> records;
  std::vector<stored::v1::Rewrap> rewraps;
  for (const stored::v1::KeyWraps& one : wraps) {
    stored::v1::KeyWraps header;
    header.set_session_id(one.session_id());
    header.set_epoch(one.epoch());
    const log::Record& record = records.emplace_back(
        log::Record{log::RecordType::kKeyWraps, header.SerializeAsString(),
                    one.SerializeAsString()});
    stored::v1::Rewrap& rewrap = rewraps.emplace_back();
    rewrap.set_session_id(one.session_id());
    rewrap.set_epoch(one.epoch());
    rewrap.set_key_wraps_digest(
        evidence::RecordDigest(record.type, record.header, record.body));
  }
  ASSIGN_OR_RETURN(const std::vector<log::Position> positions,
                   key_store_->Append(records));
  for (size_t i = 0; i < rewraps.size(); ++i) {
    rewraps[i].set_key_position(positions[i]);
  }
  return rewraps;
}

absl::Status KeyChanges::AppendKeysChanged(stored::v1::KeysChanged changed) {
  const int64_t now_us = absl::ToUnixMicros(clock_->Now());
  changed.set_record_time_us(now_us);
  std::vector<log::Record> records;
  if (log_store_->WantsSnapshot()) {
    records.push_back(open_sessions_.MakeSnapshot(now_us));
  }
  records.push_back(
      {log::RecordType::kKeysChanged, changed.SerializeAsString(), ""});
  ASSIGN_OR_RETURN(const std::vector<log::Position> positions,
                   log_store_->Append(records));
  for (size_t i = 0; tree_ != nullptr && i < records.size(); ++i) {
    tree_->OnRecord(records[i], positions[i]);
  }
  return absl::OkStatus();
}

}  // namespace diptych::keys
