#ifndef TOOLS_DIPTYCH_VERIFY_COMMAND_H_
#define TOOLS_DIPTYCH_VERIFY_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct VerifyCommandOptions {
  // A bundle's folder, the media file in one, or a receipt.
  std::string path;
  // Public keys as signed notes have them, or files of them.
  std::vector<std::string> log_keys;
  // A receipt that the bundle must agree with.
  std::string receipt;
  // Certificates of time stamping authorities, PEM.
  std::string tsa_ca;
};

// Proves a bundle or a receipt, with no server and no private key. DATA_LOSS,
// naming the first thing that is false and its place; kIncomplete if everything
// hangs together and the log's key was not given, so that nobody vouches.
absl::StatusOr<ExitCode> RunVerify(const CommandContext& context,
                                   const VerifyCommandOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_VERIFY_COMMAND_H_
