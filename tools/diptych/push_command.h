#ifndef TOOLS_DIPTYCH_PUSH_COMMAND_H_
#define TOOLS_DIPTYCH_PUSH_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

// As given on the command line; RunPush takes the texts apart.
struct PushOptions {
  // A media file, `-`, an .sdp file or a URL; one of them may be empty.
  std::string resident;
  std::string clerk;
  // A UUID; empty: a new one.
  std::string session;
  // RFC 3339; empty: now.
  std::string start_time;
  // KEY=VALUE, from the session's start.
  std::vector<std::string> tags;
  // OFFSET:KEY=VALUE: the key has this value, and no other, from then on.
  std::vector<std::string> set_tags;
  // TYPE@OFFSET[:KEY=VALUE,…]
  std::vector<std::string> events;
  // TYPE@OFFSET=FILE: an event with the file attached.
  std::vector<std::string> attachments;
  // As fast as it goes, not in real time.
  bool fast = false;
  // Where to keep on disk what is not durable; empty: nowhere.
  std::string spool;
  // Its key; empty: in that folder.
  std::string spool_key;
  // Where to write the receipt; empty: nowhere.
  std::string receipt;
  // Sends what earlier runs left in `spool`, and nothing else.
  bool drain = false;
};

// Streams both sides as a gateway does. JSON lines: `session` first, `problem`
// for whatever an input could not give, `receipt`, `summary`. Returns kDone, or
// kFailed if the archive has a receipt but something of the inputs is missing.
// With a source key in its profile it signs what it sends.
absl::StatusOr<ExitCode> RunPush(const CommandContext& context,
                                 const PushOptions& options);

// Sends what is left of all sessions in options.spool whose process is gone,
// and closes their sides. JSON lines: `receipt` for each, `problem`, `summary`.
// Returns kFailed if something could not be handed over.
absl::StatusOr<ExitCode> RunDrain(const CommandContext& context,
                                  const PushOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_PUSH_COMMAND_H_
