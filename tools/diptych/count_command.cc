#include "tools/diptych/count_command.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/catalog.pb.h"
#include "tools/diptych/audit_client.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"

namespace diptych::cli {
namespace {

template <typename Groups>
void WriteGroups(const std::string& key, const Groups& groups, Output* output) {
  Table table({"SESSIONS", absl::AsciiStrToUpper(key)});
  for (const auto& group : groups) {
    output->Line("group", {{"key", key},
                           {"value", group.value()},
                           {"sessions", group.sessions()}});
    table.AddRow({absl::StrCat(group.sessions()), group.value()});
  }
  for (const std::string& line : table.Render(output->width())) {
    output->Text(line);
  }
}

template <typename Response>
ExitCode Finish(const Response& response, int groups, const std::string& text,
                Output* output) {
  if (!response.complete()) {
    output->Warning(absl::StrCat("the answer may be incomplete: ",
                                 response.incomplete_reason()));
  }
  output->Summary({{"sessions", response.sessions()},
                   {"groups", groups},
                   {"complete", response.complete()}},
                  text);
  return response.complete() ? ExitCode::kDone : ExitCode::kIncomplete;
}

absl::StatusOr<ExitCode> CountByOne(AuditClient* client,
                                    const CountOptions& options,
                                    Output* output) {
  api::v1::CountSessionsRequest request;
  request.set_filter(options.filter);
  if (!options.by.empty()) request.set_group_by(options.by.front());
  ASSIGN_OR_RETURN(const api::v1::CountSessionsResponse response,
                   client->CountSessions(request));
  if (options.by.empty()) {
    output->Text(absl::StrCat(response.sessions()));
    return Finish(response, 0, "", output);
  }
  WriteGroups(options.by.front(), response.groups(), output);
  return Finish(response, response.groups_size(),
                Counted(response.sessions(), "session"), output);
}

absl::StatusOr<ExitCode> CountByMany(AuditClient* client,
                                     const CountOptions& options,
                                     Output* output) {
  api::v1::SummarizeRequest request;
  request.set_filter(options.filter);
  for (const std::string& key : options.by) request.add_keys(key);
  request.set_max_values(limits::kMaxGroups);
  ASSIGN_OR_RETURN(const api::v1::SummarizeResponse response,
                   client->Summarize(request));
  int groups = 0;
  for (const auto& facet : response.facets()) {
    if (groups > 0) output->Text("");
    WriteGroups(facet.key(), facet.groups(), output);
    groups += facet.groups_size();
    output->Line("facet", {{"key", facet.key()},
                           {"values", facet.groups_size()},
                           {"without", facet.without()}});
    output->Text(absl::StrCat(facet.without(), "  (none)"));
  }
  return Finish(response, groups, Counted(response.sessions(), "session"),
                output);
}

}  // namespace

absl::StatusOr<ExitCode> RunCount(const CommandContext& context,
                                  const CountOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AuditClient> client,
                   AuditClient::Open(context));
  return options.by.size() > 1
             ? CountByMany(client.get(), options, context.output)
             : CountByOne(client.get(), options, context.output);
}

}  // namespace diptych::cli
