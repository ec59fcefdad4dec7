#ifndef TOOLS_DIPTYCH_KEYS_COMMAND_H_
#define TOOLS_DIPTYCH_KEYS_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {

// All of them work on an archive's folder. Those that change it need its daemon
// stopped, and say so otherwise (UNAVAILABLE).

struct KeysListOptions {
  std::string data_dir;
};

struct KeysExportOptions {
  std::string data_dir;
  // Empty: standard output.
  std::string path;
};

struct KeysAddRecipientOptions {
  std::string data_dir;
  std::string name;
  // Base64 of the 32 bytes, or a file that holds it: as text, as PEM, or as a
  // key file.
  std::string public_key;
  // "media,metadata".
  std::string classes;
};

struct KeysAddWitnessOptions {
  std::string data_dir;
  // NAME+HASH+BASE64.
  std::string verifier_key;
};

struct KeysGenerateOptions {
  std::string name;
  std::string path;
  std::string passphrase_file;
  std::string passphrase;
};

struct KeysRotateOptions {
  std::string data_dir;
  std::string name;
  // Empty: DATA_DIR.keys.
  std::string keys_dir;
  std::string passphrase_file;
  // A source (archiver/seal/key_source.h).
  std::string passphrase;
};

// Whom the archive knows: recipients, those that are retired, and signers.
absl::StatusOr<ExitCode> RunKeysList(const CommandContext& context,
                                     const KeysListOptions& options);

// The public keys that a verifier needs, one a line as signed notes write them.
absl::StatusOr<ExitCode> RunKeysExport(const CommandContext& context,
                                       const KeysExportOptions& options);

// From the daemon's next start on, new sessions are wrapped to it too.
absl::StatusOr<ExitCode> RunKeysAddRecipient(
    const CommandContext& context, const KeysAddRecipientOptions& options);

absl::StatusOr<ExitCode> RunKeysAddWitness(
    const CommandContext& context, const KeysAddWitnessOptions& options);

// Makes a key pair for somebody who is to become a recipient.
absl::StatusOr<ExitCode> RunKeysGenerate(const CommandContext& context,
                                         const KeysGenerateOptions& options);

// Gives a recipient a new key pair and wraps all sessions to it. kIncomplete if
// some sessions' keys are damaged.
absl::StatusOr<ExitCode> RunKeysRotate(const CommandContext& context,
                                       const KeysRotateOptions& options);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_KEYS_COMMAND_H_
