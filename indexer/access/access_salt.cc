#include "indexer/access/access_salt.h"

#include <sys/random.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>

#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr size_t kSalt_bytes = 32;

}  // namespace

void SaltAccess(stored::v1::AccessRecord* record) {
  if (!record->salt().empty()) return;
  std::string salt(kSalt_bytes, '\0');
  // As few bytes as these come at once or not at all.
  ssize_t got = -1;
  do {
    got = getrandom(salt.data(), salt.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(salt.size())) std::abort();
  record->set_salt(std::move(salt));
}

}  // namespace diptych::indexer
