#ifndef TOOLS_DIPTYCH_WITNESS_COMMAND_H_
#define TOOLS_DIPTYCH_WITNESS_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct WitnessInitOptions {
  // Private key to make (PEM, mode 0600); the public one comes beside it, in
  // FILE.vkey.
  std::string key_file;
  // What the witness is called in its signatures.
  std::string name;
};

// Makes a witness's key, and prints the public one for `keys add-witness`.
absl::StatusOr<ExitCode> RunWitnessInit(const CommandContext& context,
                                        const WitnessInitOptions& options);

struct WitnessOptions {
  std::string state_dir;
  std::string key_file;
  // The log's public key, or a file with it; needed the first time.
  std::string log_key;
  // One checkpoint, and no waiting for more.
  bool once = false;
};

// Follows an archive's checkpoints and cosigns them, until it is interrupted.
// DATA_LOSS as soon as the log contradicts itself, and each time after that.
absl::StatusOr<ExitCode> RunWitness(const CommandContext& context,
                                    const WitnessOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_WITNESS_COMMAND_H_
