#ifndef INDEXER_BUILDER_REBUILD_H_
#define INDEXER_BUILDER_REBUILD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/rebuild_pass.h"
#include "indexer/store/index_store.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

struct RebuildProgress {
  enum class Phase {
    // Reading the log.
    kReading,
    // Sorting what it says, and writing it.
    kWriting,
    // Taking in what has come since, and what came late.
    kCatchingUp,
  };
  Phase phase = Phase::kReading;
  // Of this phase: bytes of the log, or rows.
  uint64_t done = 0;
  uint64_t total = 0;

  friend bool operator==(const RebuildProgress&,
                         const RebuildProgress&) = default;
};

// Is told now and then, by one thread at a time; an error ends the rebuild with
// it.
using RebuildProgressCallback =
    std::function<absl::Status(const RebuildProgress&)>;

// Whose index and from what; all must outlive whoever has this.
struct RebuildSource {
  base::Uuid archive_id;
  const seal::IndexKeys* index_keys = nullptr;
  const log::LogReader* log = nullptr;
  const log::LogReader* key_store = nullptr;
  // Keys that open metadata.
  const std::vector<seal::KeyPair>* recipient_keys = nullptr;
  // Where a rebuild keeps its files, so that one that was killed goes on: a
  // folder of its own beside the index, on the same file system.
  std::string work_folder;
  // What it leaves free of the disk; none: what an archive keeps that was told
  // nothing.
  std::optional<uint64_t> reserve_bytes;
  RebuildPace pace;
};

// Makes a generation that has all of the log before `until`, by sorting outside
// memory; what is current in the store goes on meanwhile. Goes on where an
// earlier attempt was cut short; not if that met damage, or anything else that
// may be mended since. RESOURCE_EXHAUSTED, and nothing is kept, if it would
// take from the reserve. REQUIRES: what lies before `until` is durable.
absl::StatusOr<std::unique_ptr<IndexGeneration>> MakeGeneration(
    const RebuildSource& source, log::Position until, IndexDatabase* store,
    const RebuildProgressCallback& on_progress);

// Removes what rebuilds keep, once it is not needed any more.
absl::Status ClearRebuildFiles(const RebuildSource& source);

struct RebuildOptions {
  std::string data_directory;
  // Empty: DATA_DIRECTORY/index.
  std::string index_directory;
  base::Uuid archive_id;
  // Must outlive the call.
  const seal::IndexKeys* index_keys = nullptr;
  // Keys that open metadata.
  std::vector<seal::KeyPair> recipient_keys;
  RebuildPace pace;
  // May be empty.
  RebuildProgressCallback on_progress;
};

// The folder in which a rebuild of this index keeps its files.
std::string RebuildFolder(absl::string_view index_directory);

// Makes the index again from the whole log, beside the old one, and then puts
// it in its place. If anything fails, an old one that could be used stays as it
// was. Offline: FAILED_PRECONDITION if the archive or its index is in use.
absl::StatusOr<stored::v1::IndexState> RebuildIndex(
    const RebuildOptions& options);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_REBUILD_H_
