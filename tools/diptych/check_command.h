#ifndef TOOLS_DIPTYCH_CHECK_COMMAND_H_
#define TOOLS_DIPTYCH_CHECK_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct CheckCommandOptions {
  std::string data_dir;
  bool read_data = false;
  // "5%"; empty: none.
  std::string read_data_subset;
  // Which share that is; by chance if it is not given.
  std::optional<uint64_t> seed;
  // Files with checkpoints, receipts and proofs from outside.
  std::vector<std::string> against;
  // Empty: check what can be checked without keys.
  std::string keys_dir;
  std::string passphrase_file;
};

// Checks an archive on disk; repairs nothing. DATA_LOSS, naming the first thing
// that is false, if anything is; kIncomplete if something could not be looked
// at.
absl::StatusOr<ExitCode> RunCheck(const CommandContext& context,
                                  const CheckCommandOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_CHECK_COMMAND_H_
