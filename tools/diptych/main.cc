// diptych: the command line. Parses, runs one command, and says how it ended.

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/seal/secret.h"
#include "tools/diptych/check_command.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/command_line.h"
#include "tools/diptych/count_command.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/export_command.h"
#include "tools/diptych/index_command.h"
#include "tools/diptych/init_command.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/keys_command.h"
#include "tools/diptych/log_command.h"
#include "tools/diptych/output.h"
#include "tools/diptych/push_command.h"
#include "tools/diptych/query_command.h"
#include "tools/diptych/show_command.h"
#include "tools/diptych/timestamp_command.h"
#include "tools/diptych/verify_command.h"
#include "tools/diptych/witness_command.h"

namespace diptych::cli {
namespace {

// Runs whichever command was given.
struct Runner {
  const CommandContext& context;

  absl::StatusOr<ExitCode> operator()(const HelpOptions& options) const {
    std::cout << options.text << std::flush;
    return ExitCode::kDone;
  }
  absl::StatusOr<ExitCode> operator()(const InitOptions& options) const {
    return RunInit(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const PushOptions& options) const {
    return RunPush(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const QueryOptions& options) const {
    return RunQuery(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const CountOptions& options) const {
    return RunCount(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const ShowOptions& options) const {
    return RunShow(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const ExportOptions& options) const {
    return RunExport(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const VerifyCommandOptions& options) const {
    return RunVerify(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const CheckCommandOptions& options) const {
    return RunCheck(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const IndexRebuildOptions& options) const {
    return RunIndexRebuild(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const IndexStatusOptions&) const {
    return RunIndexStatus(context);
  }
  absl::StatusOr<ExitCode> operator()(const KeysListOptions& options) const {
    return RunKeysList(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const KeysExportOptions& options) const {
    return RunKeysExport(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const KeysAddRecipientOptions& options) const {
    return RunKeysAddRecipient(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const KeysAddWitnessOptions& options) const {
    return RunKeysAddWitness(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const KeysGenerateOptions& options) const {
    return RunKeysGenerate(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const KeysRotateOptions& options) const {
    return RunKeysRotate(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const LogCheckpointOptions& options) const {
    return RunLogCheckpoint(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const LogProveOptions& options) const {
    return RunLogProve(context, options);
  }
  absl::StatusOr<ExitCode> operator()(
      const LogConsistencyOptions& options) const {
    return RunLogConsistency(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const TimestampOptions& options) const {
    return RunTimestamp(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const WitnessOptions& options) const {
    return RunWitness(context, options);
  }
  absl::StatusOr<ExitCode> operator()(const WitnessInitOptions& options) const {
    return RunWitnessInit(context, options);
  }
};

// The filter that the command was given; empty if it takes none.
std::string FilterOf(const CommandOptions& command) {
  if (const auto* query = std::get_if<QueryOptions>(&command)) {
    return query->filter;
  }
  if (const auto* count = std::get_if<CountOptions>(&command)) {
    return count->filter;
  }
  if (const auto* export_ = std::get_if<ExportOptions>(&command)) {
    return export_->filter;
  }
  return "";
}

bool Contains(int argc, const char* const* argv, std::string_view wanted) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i] == wanted) return true;
  }
  return false;
}

int Main(int argc, const char* const* argv) {
  // Several commands load private keys, and none needs a core dump.
  seal::HideMemory();
  // Before any thread begins.
  Interrupt interrupt;
  const absl::StatusOr<CommandLine> line = ParseCommandLine(argc, argv);
  // A line that could not be parsed still says in which form to complain.
  const bool json = line.ok() ? line->json : Contains(argc, argv, "--json");
  Output output(DetectOutput(json, line.ok() && line->quiet), &std::cout,
                &std::cerr);
  if (!line.ok()) {
    const ExitCode code = ExitCodeOf(line.status());
    output.Error(line.status(), static_cast<int>(code));
    return static_cast<int>(code);
  }
  const CommandContext context = {&output, &interrupt, line->profile};
  absl::StatusOr<ExitCode> result = std::visit(Runner{context}, line->command);
  output.EndProgress();
  if (result.ok() && !std::cout.flush()) {
    result = absl::InternalError(
        "standard output could not be written: the disk may be full");
  }
  if (result.ok()) return static_cast<int>(*result);

  const ExitCode code = interrupt.requested() ? ExitCode::kInterrupted
                                              : ExitCodeOf(result.status());
  const auto detail = base::GetErrorDetail(result.status());
  if (detail.has_value() && detail->field() == "filter") {
    output.Error(result.status(), static_cast<int>(code),
                 FilterOf(line->command), detail->field_offset());
  } else {
    output.Error(result.status(), static_cast<int>(code));
  }
  return static_cast<int>(code);
}

}  // namespace
}  // namespace diptych::cli

int main(int argc, char** argv) { return diptych::cli::Main(argc, argv); }
