// The daemon. With both roles this process is the writer, and starts the reader
// as a second one; see README.md.

#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/log_line.h"
#include "archiver/seal/key_source.h"
#include "archiver/seal/secret.h"
#include "tools/diptychd/daemon_options.h"
#include "tools/diptychd/reader.h"
#include "tools/diptychd/reader_process.h"
#include "tools/diptychd/server.h"
#include "tools/diptychd/writer.h"

namespace diptych::daemon {
namespace {

constexpr absl::Duration kReaderGrace = absl::Seconds(8);
constexpr absl::Duration kFirstRestartPause = absl::Milliseconds(500);
constexpr absl::Duration kLongestRestartPause = absl::Seconds(30);
// A reader that served this long was well; its restarts begin anew.
constexpr absl::Duration kHealthyReader = absl::Minutes(1);

int Fail(const absl::Status& status) {
  base::LogLine(base::Severity::kError, "cannot serve",
                {{"error", absl::string_view(status.message())}});
  return 1;
}

sigset_t BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return set;
}

// Before anything of this process's own is open.
absl::Status SettleKeyFiles(const DaemonOptions& options) {
  return seal::SettleFds(options.KeySources(),
                         !options.indexer    ? seal::FdFate::kClose
                         : !options.archiver ? seal::FdFate::kKeep
                                             : seal::FdFate::kPassOn);
}

int RunReader(const DaemonOptions& options, const sigset_t& signals) {
  absl::StatusOr<std::unique_ptr<Reader>> reader = Reader::Start(options);
  if (!reader.ok()) return Fail(reader.status());
  sd_notify(0, "READY=1");
  int signal = 0;
  do {
    sigwait(&signals, &signal);
  } while (signal == SIGCHLD);
  sd_notify(0, "STOPPING=1");
  (*reader)->Stop();
  // Whoever supervises it is to start it again.
  return (*reader)->failed() ? 1 : 0;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// Payload passes through buffers of gRPC, protobuf and libav, which free them
// as they are. From here on the allocator overwrites what is freed to it; only
// blocks up to 1 KiB may wait in a thread's cache for their next use. Costs
// nothing that could be measured beside sealing.
void OverwriteFreedMemory() { mallopt(M_PERTURB, 0x55); }

int RunWriter(const DaemonOptions& options, const sigset_t& signals) {
  OverwriteFreedMemory();
  auto lock = base::FileLock::Acquire(absl::StrCat(options.data_dir, "/lock"));
  if (!lock.ok()) return Fail(lock.status());
  const std::string run = absl::StrCat(options.data_dir, "/run");
  unlink(absl::StrCat(run, "/ingest.address").c_str());

  std::optional<ReaderProcess> reader;
  const std::string audit_address =
      absl::StrCat(options.run_dir, "/audit.address");
  if (options.indexer) {
    unlink(audit_address.c_str());
    // Before any thread: a child of many threads inherits their locks' state.
    reader.emplace(options);
    if (const absl::Status status = reader->Start(); !status.ok()) {
      return Fail(status);
    }
  }
  absl::StatusOr<std::unique_ptr<Writer>> writer = Writer::Start(options);
  if (!writer.ok()) return Fail(writer.status());
  sd_notify(0, "READY=1");

  int exit_code = 0;
  bool reader_has_served = false;
  absl::Duration pause = kFirstRestartPause;
  absl::Time reader_started = absl::Now();
  std::optional<absl::Time> restart_at;
  for (;;) {
    int signal = 0;
    if (restart_at.has_value()) {
      const timespec timeout = absl::ToTimespec(
          std::max(*restart_at - absl::Now(), absl::ZeroDuration()));
      signal = sigtimedwait(&signals, nullptr, &timeout);
      if (signal < 0) {
        restart_at.reset();
        reader_started = absl::Now();
        if (!reader->Start().ok()) restart_at = absl::Now() + pause;
        continue;
      }
    } else {
      sigwait(&signals, &signal);
    }
    if (signal == SIGTERM || signal == SIGINT) break;
    if (!reader.has_value()) continue;
    // Left behind by a reader that was killed; one that ended removes it.
    reader_has_served = reader_has_served || Exists(audit_address);
    if (!reader->Reap()) continue;
    const bool short_lived = absl::Now() - reader_started < kHealthyReader;
    // One that was told to stop removes its address file, and had served.
    reader_has_served = reader_has_served || reader->ended_well();
    if (!reader_has_served) {
      // Wrong keys, a taken port, an index to rebuild: it has said what.
      base::LogLine(base::Severity::kError,
                    "the reader could not start; stopping");
      exit_code = 1;
      break;
    }
    if (!reader->CanStartAgain()) {
      base::LogLine(base::Severity::kError,
                    "the reader died and can't be started again, since its "
                    "keys came once, as open files; recording goes on: start "
                    "the daemon again to read");
      continue;
    }
    pause = short_lived ? std::min(2 * pause, kLongestRestartPause)
                        : kFirstRestartPause;
    restart_at = absl::Now() + pause;
    base::LogLine(
        base::Severity::kError,
        "the reader died and will be started again; recording goes on",
        {{"in", absl::FormatDuration(pause)}});
  }
  sd_notify(0, "STOPPING=1");
  (*writer)->Drain();
  if (reader.has_value()) reader->Stop(kReaderGrace);
  return exit_code;
}

int Main(int argc, char** argv) {
  std::variant<DaemonOptions, int> parsed = ParseDaemonOptions(argc, argv);
  if (const int* code = std::get_if<int>(&parsed)) return *code;
  const DaemonOptions& options = std::get<DaemonOptions>(parsed);
  DieWithParent();
  umask(0027);
  seal::HideMemory();
  if (const absl::Status status = SettleKeyFiles(options); !status.ok()) {
    return Fail(status);
  }
  RequireTls13();
  const sigset_t signals = BlockSignals();
  if (const absl::Status status = seal::InitializeCrypto(); !status.ok()) {
    return Fail(status);
  }
  if (const absl::Status locked = seal::LockedMemoryStatus(); !locked.ok()) {
    base::LogLine(base::Severity::kWarning, "keys are not in locked memory",
                  {{"error", absl::string_view(locked.message())}});
  }
  return options.archiver ? RunWriter(options, signals)
                          : RunReader(options, signals);
}

}  // namespace
}  // namespace diptych::daemon

int main(int argc, char** argv) { return diptych::daemon::Main(argc, argv); }
