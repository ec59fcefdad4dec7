#ifndef TOOLS_DIPTYCH_LOG_COMMAND_H_
#define TOOLS_DIPTYCH_LOG_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

// In all of them `log_key` is the log's public key, or a file with it; what the
// server says is verified with it, and DATA_LOSS if it is false. Empty: only
// what can be verified without it is.

struct LogCheckpointOptions {
  // The latest with cosignatures of witnesses.
  bool cosigned = false;
  std::string log_key;
};

// Prints the latest checkpoint, a signed note.
absl::StatusOr<ExitCode> RunLogCheckpoint(const CommandContext& context,
                                          const LogCheckpointOptions& options);

struct LogProveOptions {
  // Exactly one of the two: the leaf's number, or where its record lies.
  std::optional<uint64_t> index;
  std::optional<uint64_t> position;
  std::string log_key;
};

// Prints a leaf's inclusion in the latest checkpoint as a C2SP tlog-proof.
absl::StatusOr<ExitCode> RunLogProve(const CommandContext& context,
                                     const LogProveOptions& options);

struct LogConsistencyOptions {
  // A file with a checkpoint.
  std::string older;
  // Another; empty: the log's latest.
  std::string newer;
  std::string log_key;
};

// Proves that the tree of an older checkpoint is the beginning of a newer
// one's, and prints the proof's hashes. DATA_LOSS if it is not.
absl::StatusOr<ExitCode> RunLogConsistency(
    const CommandContext& context, const LogConsistencyOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_LOG_COMMAND_H_
