#ifndef ARCHIVER_SEAL_SESSION_OPENER_H_
#define ARCHIVER_SEAL_SESSION_OPENER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

// Opens what SessionSealer sealed, with a recipient's private key. Only the
// reading side may hold one. Thread-safe.
class SessionOpener {
 public:
  // Unwraps every root key that one of `keys` can open. PERMISSION_DENIED if
  // that is none; DATA_LOSS if a wrap names another archive, session or epoch.
  static absl::StatusOr<std::unique_ptr<SessionOpener>> Create(
      const base::Uuid& archive_id, const stored::v1::KeyWraps& wraps,
      const std::vector<KeyPair>& keys);

  // The plaintext of a record's body. `segment` is what the record's header
  // names. DATA_LOSS if anything was changed; PERMISSION_DENIED without the
  // class's key.
  absl::StatusOr<std::string> Open(stored::v1::KeyClass key_class,
                                   log::RecordType type, uint32_t segment,
                                   absl::string_view header,
                                   absl::string_view body) const;

  // A salt of a segment. PERMISSION_DENIED without the class's key.
  absl::StatusOr<std::string> SaltOf(stored::v1::KeyClass key_class,
                                     uint32_t segment, SaltKind kind,
                                     uint64_t id) const;

 private:
  struct Chain {
    SecretKey root;
    // The last segment that was asked for, so that reading on costs one step.
    uint32_t segment = 0;
    SecretKey state;
  };

  SessionOpener() = default;
  absl::StatusOr<SecretKey> KeyAt(stored::v1::KeyClass key_class,
                                  uint32_t segment) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The chain's state at a segment.
  absl::StatusOr<const SecretKey*> StateAt(stored::v1::KeyClass key_class,
                                           uint32_t segment) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::string archive_id_;
  mutable base::Mutex mutex_;
  mutable std::map<stored::v1::KeyClass, Chain> chains_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_SESSION_OPENER_H_
