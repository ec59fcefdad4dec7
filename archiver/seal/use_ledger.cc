#include "archiver/seal/use_ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/seal/secret.h"

// For test builds alone. A line that can't be written ends the process: a
// ledger with holes proves nothing.
namespace diptych::seal {
namespace {

std::string Hash(absl::string_view data) { return base::Sha256Hex(data); }

void WriteLine(const std::string& line) {
  const char* const path = std::getenv("DIPTYCH_KEY_LEDGER");
  if (path == nullptr) return;
  // Opened for each line, since both processes of the daemon write and nothing
  // may stay open behind a fork. One write: lines of two writers do not mix,
  // and what was written outlives a kill.
  const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0 ||
      write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    std::abort();
  close(fd);
}

}  // namespace

void WriteKeyMade(const SecretKey& key, KeyLife life,
                  const KeyPurpose& purpose) {
  WriteLine(
      absl::StrCat(life == KeyLife::kOnce ? "once " : "standing ",
                   Hash(absl::StrCat("key", key.bytes())), " ",
                   Hash(absl::StrCat(purpose.kind, "|", purpose.key_class, "|",
                                     purpose.epoch, "|", purpose.segment, "|",
                                     purpose.session_id)),
                   " ", purpose.kind, "\n"));
}

void WriteKeyUsed(const SecretKey& key, absl::string_view nonce) {
  WriteLine(absl::StrCat("seal ", Hash(absl::StrCat("key", key.bytes())), " ",
                         Hash(absl::StrCat("nonce", nonce)), "\n"));
}

}  // namespace diptych::seal
