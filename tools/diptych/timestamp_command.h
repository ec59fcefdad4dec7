#ifndef TOOLS_DIPTYCH_TIMESTAMP_COMMAND_H_
#define TOOLS_DIPTYCH_TIMESTAMP_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

struct TimestampOptions {
  // http://HOST[:PORT]/PATH of a time stamping authority (RFC 3161).
  std::string url;
  // Also to this file, with the checkpoint beside it in FILE.checkpoint; empty:
  // to the archive alone.
  std::string path;
  // The log's public key, or a file with it; empty: whatever the archive says
  // is stamped.
  std::string log_key;
  // Certificates (PEM) that the authority's must lead to; empty: its signature
  // is not verified here.
  std::string ca_file;
};

// Has an authority stamp the latest checkpoint (that with witnesses'
// cosignatures, if there is one as late), and gives the stamp to the archive,
// which takes it from an operator.
absl::StatusOr<ExitCode> RunTimestamp(const CommandContext& context,
                                      const TimestampOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_TIMESTAMP_COMMAND_H_
