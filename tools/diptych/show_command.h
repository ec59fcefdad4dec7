#ifndef TOOLS_DIPTYCH_SHOW_COMMAND_H_
#define TOOLS_DIPTYCH_SHOW_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct ShowOptions {
  std::string session;
};

// Says everything about one session. kIncomplete if the index has not yet seen
// all of it.
absl::StatusOr<ExitCode> RunShow(const CommandContext& context,
                                 const ShowOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_SHOW_COMMAND_H_
