#ifndef TOOLS_DIPTYCH_COMMAND_LINE_H_
#define TOOLS_DIPTYCH_COMMAND_LINE_H_

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "tools/diptych/check_command.h"
#include "tools/diptych/count_command.h"
#include "tools/diptych/export_command.h"
#include "tools/diptych/index_command.h"
#include "tools/diptych/init_command.h"
#include "tools/diptych/keys_command.h"
#include "tools/diptych/log_command.h"
#include "tools/diptych/push_command.h"
#include "tools/diptych/query_command.h"
#include "tools/diptych/show_command.h"
#include "tools/diptych/timestamp_command.h"
#include "tools/diptych/verify_command.h"
#include "tools/diptych/witness_command.h"

namespace diptych::cli {

// `--help` was asked for: the text.
struct HelpOptions {
  std::string text;
};

struct IndexStatusOptions {};

using CommandOptions =
    std::variant<HelpOptions, InitOptions, PushOptions, QueryOptions,
                 CountOptions, ShowOptions, ExportOptions, CheckCommandOptions,
                 IndexRebuildOptions, IndexStatusOptions, KeysListOptions,
                 KeysExportOptions, KeysAddRecipientOptions,
                 KeysAddWitnessOptions, KeysGenerateOptions, KeysRotateOptions,
                 VerifyCommandOptions, LogCheckpointOptions, LogProveOptions,
                 LogConsistencyOptions, TimestampOptions, WitnessOptions,
                 WitnessInitOptions>;

struct CommandLine {
  // Before or after the command's name.
  std::string profile;
  bool json = false;
  bool quiet = false;
  CommandOptions command;
};

// Takes a command line apart. INVALID_ARGUMENT, in one sentence and without the
// text of a filter or tag, if it makes no sense.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_COMMAND_LINE_H_
