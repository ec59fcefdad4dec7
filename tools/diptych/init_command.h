#ifndef TOOLS_DIPTYCH_INIT_COMMAND_H_
#define TOOLS_DIPTYCH_INIT_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct InitOptions {
  std::string data_dir;
  // Empty: DATA_DIR.keys.
  std::string keys_dir;
  // Empty: private keys are not encrypted.
  std::string passphrase_file;
};

// Makes an archive. ALREADY_EXISTS if either folder holds anything; after any
// later error the message says which folders to remove before trying again.
absl::StatusOr<ExitCode> RunInit(const CommandContext& context,
                                 const InitOptions& options);

// DATA_DIR.keys, whether or not DATA_DIR ends with a slash.
std::string DefaultKeysDir(const std::string& data_dir);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_INIT_COMMAND_H_
