#ifndef TOOLS_DIPTYCHD_DAEMON_OPTIONS_H_
#define TOOLS_DIPTYCHD_DAEMON_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "archiver/base/limits.h"
#include "archiver/seal/key_source.h"

namespace diptych::daemon {

// What `diptychd` was asked for. Flags beat the environment (DIPTYCH_DATA_DIR,
// ...), which beats the file that --config names.
struct DaemonOptions {
  std::string data_dir;
  // Default: data_dir + ".keys". Only the indexer opens it.
  std::string keys;
  std::string passphrase_file;
  // The reader's index; default: data_dir + "/index". Each reading process has
  // one of its own.
  std::string index_dir;
  // Where the reader says at which address it serves; default: data_dir +
  // "/run".
  std::string run_dir;
  // How much of the log a rebuild of the index reads between two points to go
  // on from. Only tests set it.
  uint64_t rebuild_checkpoint_bytes = limits::kRebuildCheckpoint_bytes;
  // Where the reader's secrets come from instead (seal::KeySource); empty:
  // index.key and audit.key in `keys`, and no passphrase.
  std::string index_key;
  std::string audit_key;
  std::string passphrase;
  bool archiver = true;
  bool indexer = true;
  std::string ingest_listen = "127.0.0.1:7443";
  std::string audit_listen = "127.0.0.1:7444";
  // Free space under which no new session begins; unset: DefaultReserve.
  std::optional<uint64_t> reserve_bytes;

  // Of the three above, those that are given.
  std::vector<seal::KeySource> KeySources() const;
};

// The options, or the exit code to leave with (help was asked for, or the use
// was wrong; both have been said).
std::variant<DaemonOptions, int> ParseDaemonOptions(int argc,
                                                    const char* const* argv);

}  // namespace diptych::daemon

#endif  // TOOLS_DIPTYCHD_DAEMON_OPTIONS_H_
