#ifndef TOOLS_DIPTYCH_CHECK_COMMAND_H_
#define TOOLS_DIPTYCH_CHECK_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct CheckCommandOptions {
  std::string data_dir;
  bool read_data = false;
  // "5%"; empty: none.
  std::string read_data_subset;
  // Empty: check what can be checked without keys.
  std::string keys_dir;
  std::string passphrase_file;
};

// Checks an archive on disk; repairs nothing. DATA_LOSS, naming the first thing
// that is false, if anything is.
absl::StatusOr<ExitCode> RunCheck(const CommandContext& context,
                                  const CheckCommandOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_CHECK_COMMAND_H_
