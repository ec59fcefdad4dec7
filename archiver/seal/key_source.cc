#include "archiver/seal/key_source.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {
namespace {

// While a program that closed its output has not ended yet.
constexpr absl::Duration kEndPoll = absl::Milliseconds(5);

// Closes what it holds.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { Close(); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;

  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// A program in a process group of its own, whose standard output we read.
class Command {
 public:
  Command(pid_t pid, int output) : pid_(pid), output_(output) {}
  ~Command() { Kill(); }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  static absl::StatusOr<std::unique_ptr<Command>> Start(
      const std::string& shell_text);

  int output() const { return output_.get(); }
  // The wait status; DEADLINE_EXCEEDED if it has not ended by then.
  absl::StatusOr<int> WaitUntil(absl::Time deadline);

 private:
  void Kill();

  pid_t pid_;
  Fd output_;
};

absl::StatusOr<std::unique_ptr<Command>> Command::Start(
    const std::string& shell_text) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a pipe");
  }
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  std::string text = shell_text;
  char shell[] = "sh";
  char flag[] = "-c";
  char* const argv[] = {shell, flag, text.data(), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), 1);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // This process may have blocked or ignored signals that a program waits for.
  sigset_t none;
  sigemptyset(&none);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF |
                                            POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return absl::ErrnoToStatus(error, "cannot start /bin/sh");
  return std::make_unique<Command>(pid, read_end.Release());
}

absl::StatusOr<int> Command::WaitUntil(absl::Time deadline) {
  for (;;) {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      // Whatever it left running loses its purpose.
      kill(-pid_, SIGKILL);
      pid_ = 0;
      return status;
    }
    if (ended < 0 && errno != EINTR) {
      return absl::ErrnoToStatus(errno, "cannot wait for it");
    }
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError("it did not end in time");
    }
    absl::SleepFor(kEndPoll);
  }
}

void Command::Kill() {
  if (pid_ == 0) return;
  kill(-pid_, SIGKILL);
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

absl::StatusOr<SecretText> RunCommand(const std::string& shell_text,
                                      size_t max_bytes,
                                      absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  ASSIGN_OR_RETURN(const std::unique_ptr<Command> command,
                   Command::Start(shell_text));
  SecretText text(max_bytes + 1);
  size_t done = 0;
  for (;;) {
    const absl::Duration left = deadline - absl::Now();
    pollfd poll_fd = {.fd = command->output(), .events = POLLIN, .revents = 0};
    const int ready = poll(&poll_fd, 1,
                           static_cast<int>(std::max<int64_t>(
                               0, absl::ToInt64Milliseconds(left))));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      return absl::DeadlineExceededError(
          absl::StrCat("it said nothing whole within ",
                       absl::FormatDuration(timeout), " and was ended"));
    }
    const ssize_t got =
        read(command->output(), text.mutable_data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, "cannot read from it");
    if (got == 0) break;
    done += static_cast<size_t>(got);
    if (done > max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("it said more than ", max_bytes, " bytes"));
    }
  }
  ASSIGN_OR_RETURN(const int status, command->WaitUntil(deadline));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::FailedPreconditionError(
        WIFEXITED(status)
            ? absl::StrCat("it failed with exit code ", WEXITSTATUS(status))
            : absl::StrCat("signal ", WTERMSIG(status), " ended it"));
  }
  text.Shrink(done);
  return text;
}

absl::StatusOr<SecretText> ReadPrivateFile(const std::string& path,
                                           size_t max_bytes) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  if ((info.st_mode & (S_IRWXO | S_IRWXG)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " can be read by others; make it private with chmod 600"));
  }
  return ReadSecretFile(path, max_bytes);
}

absl::StatusOr<SecretText> ReadCredential(const std::string& name,
                                          size_t max_bytes) {
  const char* const folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr) {
    return absl::FailedPreconditionError(
        "CREDENTIALS_DIRECTORY is not set: systemd hands out credentials to "
        "units with LoadCredential= or LoadCredentialEncrypted=");
  }
  // No look at the mode: systemd lets its user in by an access control list,
  // which shows as a group's right.
  return ReadSecretFile(absl::StrCat(folder, "/", name), max_bytes);
}

absl::StatusOr<SecretText> FirstLine(SecretText text, absl::string_view where) {
  const size_t end = std::min(text.view().find_first_of("\r\n"), text.size());
  if (end == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the first line of ", where, " holds no passphrase"));
  }
  if (end > limits::kMaxPassphrase_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the passphrase from ", where, " has more than ",
                     limits::kMaxPassphrase_bytes, " bytes"));
  }
  text.Shrink(end);
  return text;
}

}  // namespace

absl::StatusOr<KeySource> KeySource::Parse(absl::string_view source) {
  constexpr std::array<std::pair<absl::string_view, Kind>, 4> kKinds = {
      {{"file:", Kind::kFile},
       {"fd:", Kind::kFd},
       {"credential:", Kind::kCredential},
       {"command:", Kind::kCommand}}};
  for (const auto& [prefix, kind] : kKinds) {
    absl::string_view what = source;
    if (!absl::ConsumePrefix(&what, prefix) || what.empty()) continue;
    KeySource parsed(kind, std::string(what));
    if (kind == Kind::kFd &&
        (!absl::SimpleAtoi(what, &parsed.fd_) || parsed.fd_ < 3)) {
      return absl::InvalidArgumentError(absl::StrCat(
          source, ": after fd: comes the number of an open file, at least 3"));
    }
    if (kind == Kind::kCredential &&
        (what.find('/') != absl::string_view::npos || what[0] == '.')) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": a credential has a name and no path"));
    }
    return parsed;
  }
  return absl::InvalidArgumentError(
      "a key or passphrase comes from file:PATH, fd:N, credential:NAME or "
      "command:CMD");
}

std::string KeySource::Name() const {
  switch (kind_) {
    case Kind::kFile:
      return absl::StrCat("file:", what_);
    case Kind::kFd:
      return absl::StrCat("fd:", what_);
    case Kind::kCredential:
      return absl::StrCat("credential:", what_);
    case Kind::kCommand:
      return "command:";
  }
  return "";
}

absl::StatusOr<SecretText> KeySource::Read(size_t max_bytes,
                                           absl::Duration timeout) const {
  absl::StatusOr<SecretText> text = absl::InternalError("no such source");
  switch (kind_) {
    case Kind::kFile:
      text = ReadPrivateFile(what_, max_bytes);
      break;
    case Kind::kFd:
      text = ReadSecret(fd_, Name(), max_bytes);
      // Only what this process was given: somebody else's may come to have the
      // number.
      if (text.ok()) close(fd_);
      break;
    case Kind::kCredential:
      text = ReadCredential(what_, max_bytes);
      break;
    case Kind::kCommand:
      text = RunCommand(what_, max_bytes, timeout);
      break;
  }
  if (text.ok()) return text;
  return absl::Status(text.status().code(),
                      absl::StrCat("no secret from ", Name(), ": ",
                                   absl::string_view(text.status().message())));
}

absl::Status SettleFds(const std::vector<KeySource>& sources, FdFate fate) {
  for (const KeySource& source : sources) {
    if (source.kind() != KeySource::Kind::kFd) continue;
    if (fcntl(source.fd(), F_SETFD, fate == FdFate::kPassOn ? 0 : FD_CLOEXEC) !=
        0) {
      return absl::FailedPreconditionError(
          absl::StrCat(source.Name(), " is not open in this process"));
    }
    if (fate == FdFate::kClose) close(source.fd());
  }
  return absl::OkStatus();
}

absl::StatusOr<SecretText> ReadPassphrase(const KeySource& source) {
  ASSIGN_OR_RETURN(SecretText text,
                   source.Read(limits::kMaxPassphrase_bytes + 2));
  return FirstLine(std::move(text), source.Name());
}

absl::StatusOr<SecretText> ReadPassphraseFile(const std::string& path) {
  ASSIGN_OR_RETURN(SecretText text,
                   ReadSecretFile(path, limits::kMaxPassphrase_bytes + 2));
  return FirstLine(std::move(text), path);
}

}  // namespace diptych::seal
