#ifndef TOOLS_DIPTYCH_KEYS_KEY_CHANGES_H_
#define TOOLS_DIPTYCH_KEYS_KEY_CHANGES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/publisher.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::keys {

// An archive at rest whose keys are being changed: holds its lock, so that no
// daemon runs meanwhile, and writes to its configuration, key store and log.
// Each write is durable when it returns; what the log is told is in a signed
// checkpoint soon after, and at the latest when this object goes. Not
// thread-safe.
class KeyChanges {
 public:
  // Recovers both stores as a daemon's start does. UNAVAILABLE, saying what to
  // do, if somebody has the archive open; NOT_FOUND if there is none. DATA_LOSS
  // if the log is not the one that its last checkpoint stands for.
  static absl::StatusOr<std::unique_ptr<KeyChanges>> Open(
      const std::string& data_dir,
      base::FileSystem* file_system = base::FileSystem::Real(),
      base::Clock* clock = base::Clock::Real());

  const stored::v1::ArchiveConfig& config() const { return config_; }
  const log::LogReader& log() const { return *log_reader_; }
  const log::LogReader& key_store() const { return *key_reader_; }
  // What recovery found, in words.
  const std::vector<std::string>& remarks() const { return remarks_; }

  // Puts another configuration in place, whole or not at all.
  absl::Status Replace(const stored::v1::ArchiveConfig& config);

  // Appends to the key store; returns what the log has to say of it.
  // REQUIRES: 1 to limits::kRewrapsPerRecord of them.
  absl::StatusOr<std::vector<stored::v1::Rewrap>> AppendWraps(
      const std::vector<stored::v1::KeyWraps>& wraps);

  // Appends to the log; its time is filled in.
  absl::Status AppendKeysChanged(stored::v1::KeysChanged changed);

 private:
  KeyChanges() = default;

  absl::Status OpenTree(base::FileSystem* file_system,
                        const base::Uuid& archive_id);

  std::string data_dir_;
  base::Clock* clock_ = nullptr;
  std::vector<std::string> remarks_;
  std::unique_ptr<base::FileLock> lock_;
  stored::v1::ArchiveConfig config_;
  std::unique_ptr<log::LogStore> key_store_;
  std::unique_ptr<log::LogStore> log_store_;
  std::unique_ptr<log::LogReader> key_reader_;
  std::unique_ptr<log::LogReader> log_reader_;
  // None in an archive without a key for it.
  std::unique_ptr<evidence::TreePublisher> tree_;
  // For the snapshot of a new volume. What is written here changes none of it.
  log::OpenSessions open_sessions_;
};

}  // namespace diptych::keys

#endif  // TOOLS_DIPTYCH_KEYS_KEY_CHANGES_H_
