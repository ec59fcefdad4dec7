#ifndef ARCHIVER_LOG_LOG_READER_H_
#define ARCHIVER_LOG_LOG_READER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"

namespace diptych::log {

struct VolumeInfo {
  std::string path;
  Position base = 0;
  uint64_t size_bytes = 0;
};

// A place where bytes are not a record.
struct Damage {
  Position from = 0;
  // Where the next whole record begins, or the volume's end.
  Position to = 0;
  std::string volume;
  // "header checksum differs", ...
  std::string what;
  // True if the bytes were durable before something after them was written, so
  // that a crash can't explain them. False for a tail that a crash has torn.
  bool was_durable = false;
};

// Reads a store of volume files: the log (DIR/volumes) or the key store
// (DIR/keystore). Only reads, so that any number of readers may follow one
// writer; keeps files open. Thread-safe.
class LogReader {
 public:
  // `directory` need not exist yet.
  LogReader(base::FileSystem* file_system, std::string directory);

  // The record at `position`, its checksums verified. `size_hint_bytes`, its
  // whole size where that is known, saves a second read. NOT_FOUND if nothing
  // begins there, DATA_LOSS (naming volume and place) if it is damaged.
  absl::StatusOr<StoredRecord> Read(Position position,
                                    size_t size_hint_bytes = 0) const;

  struct ScanOptions {
    Position from = 0;
    // Nothing at or after this is read.
    Position until = UINT64_MAX;
    // False: bodies are neither read nor verified; StoredRecord::body is empty.
    bool bodies = true;
    // With bodies: false for a record whose body is not wanted after all. Not
    // asked for snapshots, which always come whole.
    std::function<bool(RecordType type, Position position)> wants_body;
    // With bodies: is shown each body where it lies, before `on_record` gets
    // the record, and says whether the record is to have a copy of it. `whole`
    // is false if its checksum differs: that is then no damage, and the record
    // comes without it.
    std::function<bool(absl::string_view body, bool whole)> on_body;
    // What is read at a time.
    size_t block_bytes = limits::kScanBlock_bytes;
  };

  // Calls `on_record` for every whole record in order, and `on_damage` for what
  // lies between. Stops at the first error that a callback returns, and returns
  // it. Returns where it stopped: the position after the last whole record, or
  // after the damage that follows it.
  absl::StatusOr<Position> Scan(
      const ScanOptions& options,
      const std::function<absl::Status(StoredRecord&&)>& on_record,
      const std::function<absl::Status(const Damage&)>& on_damage) const;

  // In order of their positions, as the folder is now.
  absl::StatusOr<std::vector<VolumeInfo>> ListVolumes() const;

 private:
  struct OpenVolume {
    Position base;
    std::string path;
    std::unique_ptr<base::ReadFile> file;
  };

  // The volume that holds `position`; looks at the folder again if need be.
  absl::StatusOr<std::shared_ptr<OpenVolume>> FindVolume(
      Position position) const;
  absl::Status Refresh() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::FileSystem* const file_system_;
  const std::string directory_;
  mutable base::Mutex mutex_;
  mutable std::map<Position, std::shared_ptr<OpenVolume>> volumes_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::log

#endif  // ARCHIVER_LOG_LOG_READER_H_
