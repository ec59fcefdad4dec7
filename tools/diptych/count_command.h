#ifndef TOOLS_DIPTYCH_COUNT_COMMAND_H_
#define TOOLS_DIPTYCH_COUNT_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct CountOptions {
  std::string filter;
  // Tag keys; none: the total alone.
  std::vector<std::string> by;
};

// Counts sessions exactly, by one key or by several, each for itself.
// kIncomplete if the index could not see all.
absl::StatusOr<ExitCode> RunCount(const CommandContext& context,
                                  const CountOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_COUNT_COMMAND_H_
