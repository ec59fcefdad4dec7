#include "tools/diptych/count_command.h"

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/catalog.pb.h"
#include "tools/diptych/audit_client.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"

namespace diptych::cli {

absl::StatusOr<ExitCode> RunCount(const CommandContext& context,
                                  const CountOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AuditClient> client,
                   AuditClient::Open(context));
  api::v1::CountSessionsRequest request;
  request.set_filter(options.filter);
  request.set_group_by(options.by);
  ASSIGN_OR_RETURN(const api::v1::CountSessionsResponse response,
                   client->CountSessions(request));
  Output& output = *context.output;
  if (options.by.empty()) {
    output.Text(absl::StrCat(response.sessions()));
  } else {
    Table table({"SESSIONS", absl::AsciiStrToUpper(options.by)});
    for (const auto& group : response.groups()) {
      output.Line("group", {{"key", options.by},
                            {"value", group.value()},
                            {"sessions", group.sessions()}});
      table.AddRow({absl::StrCat(group.sessions()), group.value()});
    }
    for (const std::string& line : table.Render(output.width())) {
      output.Text(line);
    }
  }
  if (!response.complete()) {
    output.Warning(absl::StrCat("the answer may be incomplete: ",
                                response.incomplete_reason()));
  }
  output.Summary(
      {{"sessions", response.sessions()},
       {"groups", response.groups_size()},
       {"complete", response.complete()}},
      options.by.empty() ? "" : Counted(response.sessions(), "session"));
  return response.complete() ? ExitCode::kDone : ExitCode::kIncomplete;
}

}  // namespace diptych::cli
