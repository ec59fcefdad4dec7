#ifndef TOOLS_DIPTYCH_EXPORT_COMMAND_H_
#define TOOLS_DIPTYCH_EXPORT_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct ExportOptions {
  // Exactly one of the two is given.
  std::string session;
  std::string filter;
  bool has_filter = false;
  // Offset or RFC 3339 time; empty: the session's own ends.
  std::string from;
  std::string to;
  std::string side = "both";
  std::string format = "mkv";
  // Of a bundle.
  std::string media = "mkv";
  std::string layout = "tracks";
  std::string path;
  std::string purpose;
  bool force = false;
  bool attachments = false;
};

// Writes one session as the file PATH, or with a filter every session as
// PATH/SESSION.ext; a bundle is a folder, PATH or PATH/SESSION. Either is whole
// or not there. A bundle is verified before it gets its name: DATA_LOSS if what
// the archive sent does not prove itself. kIncomplete if the index could not
// see all sessions of the filter.
absl::StatusOr<ExitCode> RunExport(const CommandContext& context,
                                   const ExportOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_EXPORT_COMMAND_H_
