#include "tools/diptychd/reader_process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/seal/key_source.h"

namespace diptych::daemon {
namespace {

constexpr char kParentVariable[] = "DIPTYCHD_PARENT";

}  // namespace

ReaderProcess::~ReaderProcess() { Stop(absl::ZeroDuration()); }

absl::Status ReaderProcess::Start() {
  std::vector<std::string> arguments = {
      "diptychd",
      "--roles=indexer",
      absl::StrCat("--data_dir=", options_.data_dir),
      absl::StrCat("--keys=", options_.keys),
      absl::StrCat("--index_dir=", options_.index_dir),
      absl::StrCat("--run_dir=", options_.run_dir),
      absl::StrCat("--rebuild_checkpoint_bytes=",
                   options_.rebuild_checkpoint_bytes),
      absl::StrCat("--ingest_listen=", options_.ingest_listen),
      absl::StrCat("--audit_listen=", options_.audit_listen),
  };
  if (options_.reserve_bytes.has_value()) {
    arguments.push_back(
        absl::StrCat("--reserve_bytes=", *options_.reserve_bytes));
  }
  if (!options_.passphrase_file.empty()) {
    arguments.push_back(
        absl::StrCat("--passphrase_file=", options_.passphrase_file));
  }
  for (const auto& [name, source] : {std::pair<const char*, const std::string&>{
                                         "--index_key=", options_.index_key},
                                     {"--audit_key=", options_.audit_key},
                                     {"--passphrase=", options_.passphrase}}) {
    if (!source.empty()) arguments.push_back(absl::StrCat(name, source));
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  std::vector<std::string> variables = {
      absl::StrCat(kParentVariable, "=", getpid())};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    // The parent's own options are all in the arguments.
    if (std::string(*variable).rfind("DIPTYCH", 0) != 0) {
      variables.emplace_back(*variable);
    }
  }
  std::vector<char*> envp;
  for (std::string& variable : variables) envp.push_back(variable.data());
  envp.push_back(nullptr);

  pid_t pid = 0;
  const int error = posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr,
                                argv.data(), envp.data());
  if (error != 0) {
    return absl::ErrnoToStatus(error, "cannot start the reader's process");
  }
  pid_ = pid;
  const std::vector<seal::KeySource> sources = options_.KeySources();
  fds_are_gone_ = std::any_of(
      sources.begin(), sources.end(),
      [](const seal::KeySource& source) { return source.fd() >= 0; });
  return seal::SettleFds(sources, seal::FdFate::kClose);
}

bool ReaderProcess::Reap() {
  if (!pid_.has_value()) return false;
  int status = 0;
  if (waitpid(*pid_, &status, WNOHANG) != *pid_) return false;
  pid_.reset();
  ended_well_ = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return true;
}

void ReaderProcess::Stop(absl::Duration grace) {
  if (!pid_.has_value()) return;
  kill(*pid_, SIGTERM);
  const absl::Time deadline = absl::Now() + grace;
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  while (!Reap()) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      kill(*pid_, SIGKILL);
      waitpid(*pid_, nullptr, 0);
      pid_.reset();
      return;
    }
    const timespec timeout = absl::ToTimespec(left);
    sigtimedwait(&child, nullptr, &timeout);
  }
}

void DieWithParent() {
  const char* parent = std::getenv(kParentVariable);
  if (parent == nullptr) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have died before the line above.
  int pid = 0;
  if (absl::SimpleAtoi(parent, &pid) && getppid() != pid) std::_Exit(1);
}

}  // namespace diptych::daemon
