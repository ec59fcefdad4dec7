#ifndef TOOLS_DIPTYCHD_READER_PROCESS_H_
#define TOOLS_DIPTYCHD_READER_PROCESS_H_

#include <sys/types.h>

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/diptychd/daemon_options.h"

namespace diptych::daemon {

// The reader as a process of its own under a writer that was asked for both
// roles. All calls from the main thread, whose death takes the reader along.
class ReaderProcess {
 public:
  explicit ReaderProcess(const DaemonOptions& options) : options_(options) {}
  // Kills what still runs.
  ~ReaderProcess();

  // Hands on the files that keys come from (fd:N), and closes its own: this
  // process holds no key.
  absl::Status Start();

  // False once keys have been handed on that can't be read a second time.
  bool CanStartAgain() const { return !fds_are_gone_; }

  // Takes note of children that have died (SIGCHLD). True if the reader was one
  // of them.
  bool Reap();

  // Asks it to stop, waits, and kills it if it takes longer than `grace`.
  void Stop(absl::Duration grace);

  // How the last one ended: by itself, with success.
  bool ended_well() const { return ended_well_; }

 private:
  const DaemonOptions options_;
  std::optional<pid_t> pid_;
  bool ended_well_ = false;
  bool fds_are_gone_ = false;
};

// In the reader's process: to be called first thing. Dies with the parent that
// started it, if it was started by ReaderProcess.
void DieWithParent();

}  // namespace diptych::daemon

#endif  // TOOLS_DIPTYCHD_READER_PROCESS_H_
