#ifndef INDEXER_BUILDER_REBUILD_PASS_H_
#define INDEXER_BUILDER_REBUILD_PASS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/disk_room.h"
#include "indexer/builder/rebuild_checkpoint.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// How much work a rebuild that is killed loses at most.
struct RebuildPace {
  uint64_t checkpoint_bytes = limits::kRebuildCheckpoint_bytes;
  absl::Duration checkpoint_every = absl::Seconds(30);
};

struct RebuildPassOptions {
  base::Uuid archive_id;
  // These must outlive the pass.
  const seal::IndexKeys* index_keys = nullptr;
  const log::LogReader* log = nullptr;
  const log::LogReader* key_store = nullptr;
  const std::vector<seal::KeyPair>* recipient_keys = nullptr;
  const DiskRoom* room = nullptr;
  base::Clock* clock = base::Clock::Real();
  RebuildPace pace;
  // Told of bytes of the log, now and then; an error ends the pass.
  std::function<absl::Status(log::Position done)> on_progress;
};

struct RebuildPassResult {
  FamilyRuns runs;
  // What the index's state is but for the late records.
  stored::v1::IndexState state;
  // Records of sessions that had been written, in the order of the log: to be
  // taken in one by one once the runs are in.
  std::vector<log::Position> late;
};

// Reads the log once, from its beginning or from the checkpoint, up to `until`,
// and leaves all rows in sorted runs in the checkpoints' folder. The last
// checkpoint has all of it, so that what follows can be done again. REQUIRES:
// what lies before `until` is durable.
absl::StatusOr<RebuildPassResult> ReadLogForRebuild(
    const RebuildPassOptions& options, log::Position until,
    RebuildCheckpoints* checkpoints);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_REBUILD_PASS_H_
