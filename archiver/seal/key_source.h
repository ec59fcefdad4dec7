#ifndef ARCHIVER_SEAL_KEY_SOURCE_H_
#define ARCHIVER_SEAL_KEY_SOURCE_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {

// Where a private key's file, or a passphrase, comes from when it does not lie
// in the key folder:
//   file:PATH        a file that nobody else may read
//   fd:N             an open file or pipe that this process was started with;
//                    read to its end and closed, so that it gives its secret
//                    once
//   credential:NAME  $CREDENTIALS_DIRECTORY/NAME, as systemd hands them out
//   command:CMD      what CMD says on standard output; /bin/sh runs it
class KeySource {
 public:
  enum class Kind { kFile, kFd, kCredential, kCommand };

  // INVALID_ARGUMENT if it is none of these.
  static absl::StatusOr<KeySource> Parse(absl::string_view source);

  Kind kind() const { return kind_; }
  // The file descriptor of fd:N, otherwise -1.
  int fd() const { return fd_; }
  // As it was given, but of a command only that it is one: it may hold secrets.
  std::string Name() const;

  // What it holds, at most `max_bytes`. A command gets nothing on standard
  // input, none of this process's open files but standard error, and ends by
  // itself, with success, within `timeout`; otherwise it is killed with
  // whatever it started. Errors name the source.
  absl::StatusOr<SecretText> Read(
      size_t max_bytes,
      absl::Duration timeout = limits::kKeyCommandTimeout) const;

 private:
  KeySource(Kind kind, std::string what)
      : kind_(kind), what_(std::move(what)) {}

  Kind kind_;
  std::string what_;
  int fd_ = -1;
};

// What has to be done about fd:N before this process opens anything of its own
// that could come to have the number. FAILED_PRECONDITION if one is not open.
enum class FdFate {
  // Whatever it starts next gets them.
  kPassOn,
  // It reads them itself: nothing that it starts gets them.
  kKeep,
  // It has no use for them: closes them.
  kClose,
};
absl::Status SettleFds(const std::vector<KeySource>& sources, FdFate fate);

// A passphrase: the source's first line, without its end. INVALID_ARGUMENT if
// it is empty or over limits::kMaxPassphrase_bytes.
absl::StatusOr<SecretText> ReadPassphrase(const KeySource& source);
// The same from a file, whoever may read it.
absl::StatusOr<SecretText> ReadPassphraseFile(const std::string& path);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_KEY_SOURCE_H_
