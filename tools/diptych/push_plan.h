#ifndef TOOLS_DIPTYCH_PUSH_PLAN_H_
#define TOOLS_DIPTYCH_PUSH_PLAN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/diptych/push_command.h"
#include "tools/gateway/session_pump.h"

namespace diptych::cli {

// The tags, events and attachments of a push in the order of their times; what
// is to hold from the beginning comes first. Attached files are read whole.
// INVALID_ARGUMENT, naming the option but no tag's value, for what breaks the
// rules; NOT_FOUND for a file that is not there.
absl::StatusOr<std::vector<gateway::PumpNote>> PlanNotes(
    const PushOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_PUSH_PLAN_H_
