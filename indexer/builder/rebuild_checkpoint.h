#ifndef INDEXER_BUILDER_REBUILD_CHECKPOINT_H_
#define INDEXER_BUILDER_REBUILD_CHECKPOINT_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/log/record.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/session_record.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// A session that the pass over the log has met.
struct MetSession {
  base::Uuid session;
  SessionNumber number;
};

// From where a rebuild that was cut short goes on. Rows of sessions that have
// ended are in the runs; those that are open are read again from their
// beginning.
struct RebuildCheckpoint {
  // Whose it is: another archive, index key or schema has no use for it.
  std::string identity;
  // Everything before this was read, and counted but for open sessions. What
  // `state` says of the last record lets it be compared with the log.
  stored::v1::IndexState state;
  std::array<FamilyRuns, limits::kRebuildWorkers> runs;
  std::array<uint64_t, limits::kRebuildWorkers> next_file = {};
  // In the order of the log; in a file of their own, which only grows.
  std::vector<MetSession> met;
  // Where the earliest of the open ones begins; state.position() if none is.
  log::Position read_from = 0;
  std::vector<base::Uuid> open;
  // Records that belong to sessions that had been written, in their order; in
  // a file of their own, which only grows.
  std::vector<log::Position> late;
};

// What makes checkpoints of others unusable.
std::string RebuildIdentity(const base::Uuid& archive_id,
                            const std::string& key_fingerprint);

// Keeps checkpoints in a folder. Each save is whole or not at all. Not
// thread-safe.
class RebuildCheckpoints {
 public:
  // Makes the folder if it is not there.
  static absl::StatusOr<RebuildCheckpoints> Open(const std::string& folder);

  // The latest, and files that it does not name are removed; an empty one,
  // with nothing in the folder, if there is none that is whole and has this
  // identity.
  absl::StatusOr<RebuildCheckpoint> Load(const std::string& identity);

  // REQUIRES: `met` and `late` begin with what the last one loaded or saved
  // had; all runs are on stable storage.
  absl::Status Save(const RebuildCheckpoint& checkpoint);

  // Removes everything.
  absl::Status Clear();

  const std::string& folder() const { return folder_; }

 private:
  explicit RebuildCheckpoints(std::string folder)
      : folder_(std::move(folder)) {}

  absl::StatusOr<RebuildCheckpoint> Read(const std::string& identity);

  // How much of the growing files is good, and a hash of it.
  struct Saved {
    size_t count = 0;
    base::Sha256Hasher hasher;
  };

  // Brings the saved part of a growing file up to all its entries.
  absl::Status Grow(absl::string_view name, size_t entry_bytes,
                    const std::string& added, Saved* saved) const;

  std::string folder_;
  Saved met_;
  Saved late_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_REBUILD_CHECKPOINT_H_
