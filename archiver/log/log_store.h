#ifndef ARCHIVER_LOG_LOG_STORE_H_
#define ARCHIVER_LOG_LOG_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::log {

// The writing half of a store. Kept small so that an object store can take the
// local files' place. One writer at a time; not thread-safe (Committer is the
// door for many).
class LogStore {
 public:
  virtual ~LogStore() = default;

  // Appends all records and returns once they are on stable storage, with each
  // one's position. RESOURCE_EXHAUSTED: there is no space; nothing of the batch
  // is stored, and the same batch may be tried again. After any other error
  // nothing of the batch counts as stored and every later call fails with the
  // same error: what the disk holds is unknown until the next start.
  virtual absl::StatusOr<std::vector<Position>> Append(
      absl::Span<const Record> records) = 0;

  // True if the next Append begins a new volume. The caller then puts a
  // snapshot first.
  virtual bool WantsSnapshot() const = 0;

  // Everything before this is on stable storage.
  virtual Position durable_end() const = 0;
};

// What a start found.
struct RecoveryReport {
  // Torn tails that were moved aside, and damage that was left in place.
  std::vector<Damage> damages;
  // Files in `lost+found` that hold the torn bytes.
  std::vector<std::string> moved_aside;
};

struct LocalLogStoreOptions {
  // DIR/volumes or DIR/keystore.
  std::string directory;
  // Where torn tails go.
  std::string lost_and_found;
  base::Uuid archive_id;
  // "log" or "keys".
  std::string store;
  uint64_t volume_max_bytes = 0;
  // Free space of the disk that is left alone: under it no more is taken.
  uint64_t floor_bytes = 0;
  // Everything before this was durable, as somebody else knows: what is bad
  // there is damage and no torn tail.
  Position known_durable = 0;
};

// Opens a store of local volume files: looks at the last volume, moves a torn
// tail aside, and is ready to append. Damage before the tail is left as it is;
// appending then goes on in a new volume.
// REQUIRES: nobody else writes this directory.
absl::StatusOr<std::unique_ptr<LogStore>> OpenLocalLogStore(
    base::FileSystem* file_system, base::Clock* clock,
    const LocalLogStoreOptions& options, RecoveryReport* report);

}  // namespace diptych::log

#endif  // ARCHIVER_LOG_LOG_STORE_H_
