#ifndef TOOLS_DIPTYCH_INDEX_COMMAND_H_
#define TOOLS_DIPTYCH_INDEX_COMMAND_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "archiver/base/limits.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct IndexRebuildOptions {
  // Empty: the running daemon of the profile does it.
  std::string data_dir;
  // Empty: DATA_DIR.keys.
  std::string keys_dir;
  std::string passphrase_file;
  // Empty: DATA_DIR/index.
  std::string index_dir;
  // How much of the log lies between two points to go on from. Only tests set
  // it.
  uint64_t checkpoint_bytes = limits::kRebuildCheckpoint_bytes;
};

// Makes the index anew from the log: of an archive that is not served, or by
// asking the running daemon, which goes on answering meanwhile.
absl::StatusOr<ExitCode> RunIndexRebuild(const CommandContext& context,
                                         const IndexRebuildOptions& options);

// Says how far the index is behind the log. kIncomplete if it is behind, or if
// that can't be known.
absl::StatusOr<ExitCode> RunIndexStatus(const CommandContext& context);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_INDEX_COMMAND_H_
