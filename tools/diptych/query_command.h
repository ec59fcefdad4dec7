#ifndef TOOLS_DIPTYCH_QUERY_COMMAND_H_
#define TOOLS_DIPTYCH_QUERY_COMMAND_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct QueryOptions {
  // AIP-160; empty: all.
  std::string filter;
  bool segments = false;
  // 1 to limits::kMaxResultRows.
  uint64_t limit = 50;
  std::string page;
  bool oldest_first = false;
};

// Finds sessions or segments. kIncomplete if the index could not see all.
absl::StatusOr<ExitCode> RunQuery(const CommandContext& context,
                                  const QueryOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_QUERY_COMMAND_H_
