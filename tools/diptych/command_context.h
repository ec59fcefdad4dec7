#ifndef TOOLS_DIPTYCH_COMMAND_CONTEXT_H_
#define TOOLS_DIPTYCH_COMMAND_CONTEXT_H_

#include <string>

#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"

namespace diptych::cli {

// What every command gets. Each is `absl::StatusOr<ExitCode> RunNAME(context,
// options)`: an error becomes an exit code and the last line in main; kDone and
// kIncomplete come after a Summary.
struct CommandContext {
  Output* output;
  Interrupt* interrupt;
  // --profile; empty if not given.
  std::string profile_flag;
};

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_COMMAND_CONTEXT_H_
