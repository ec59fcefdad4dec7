#ifndef TOOLS_DIPTYCH_COUNT_COMMAND_H_
#define TOOLS_DIPTYCH_COUNT_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct CountOptions {
  std::string filter;
  // A tag key; empty: the total alone.
  std::string by;
};

// Counts sessions exactly. kIncomplete if the index could not see all.
absl::StatusOr<ExitCode> RunCount(const CommandContext& context,
                                  const CountOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_COUNT_COMMAND_H_
