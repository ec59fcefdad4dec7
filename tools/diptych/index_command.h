#ifndef TOOLS_DIPTYCH_INDEX_COMMAND_H_
#define TOOLS_DIPTYCH_INDEX_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct IndexRebuildOptions {
  std::string data_dir;
  // Empty: DATA_DIR.keys.
  std::string keys_dir;
  std::string passphrase_file;
};

// Makes the index anew from the log. The daemon must not be running.
absl::StatusOr<ExitCode> RunIndexRebuild(const CommandContext& context,
                                         const IndexRebuildOptions& options);

// Says how far the index is behind the log. kIncomplete if it is behind, or if
// that can't be known.
absl::StatusOr<ExitCode> RunIndexStatus(const CommandContext& context);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_INDEX_COMMAND_H_
