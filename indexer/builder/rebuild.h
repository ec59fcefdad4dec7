#ifndef INDEXER_BUILDER_REBUILD_H_
#define INDEXER_BUILDER_REBUILD_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

struct RebuildOptions {
  std::string data_directory;
  base::Uuid archive_id;
  // Must outlive the call.
  const seal::IndexKeys* index_keys = nullptr;
  // Keys that open metadata.
  std::vector<seal::KeyPair> recipient_keys;
  // Called now and then with bytes of the log done and in all; an error ends
  // the rebuilding with it. May be empty.
  std::function<absl::Status(uint64_t done, uint64_t total)> on_progress;
};

// Makes the index again from the whole log, beside the old one, and then puts
// it in its place. If anything fails, the old one stays as it was. Offline:
// FAILED_PRECONDITION if the archive or its index is in use.
absl::StatusOr<stored::v1::IndexState> RebuildIndex(
    const RebuildOptions& options);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_REBUILD_H_
