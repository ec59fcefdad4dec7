#ifndef TOOLS_DIPTYCH_KEYS_KEY_ROTATION_H_
#define TOOLS_DIPTYCH_KEYS_KEY_ROTATION_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/diptych/keys/key_changes.h"

namespace diptych::keys {

struct RotationOptions {
  std::string keys_dir;
  // Which recipient.
  std::string name;
  // Opens the old private key and seals the new one.
  std::optional<absl::string_view> passphrase;
  // Epochs looked at, of how many. An error ends the rotation; called again, it
  // goes on.
  std::function<absl::Status(uint64_t done, uint64_t total)> on_progress;
  // For tests: before each thing that becomes durable.
  std::function<absl::Status(absl::string_view step)> before_step;
};

struct RotationResult {
  // A rotation that was broken off was brought to its end.
  bool went_on = false;
  std::string old_recipient_id;
  std::string new_recipient_id;
  // Where the old private key lies now.
  std::string old_key_file;
  uint64_t rewrapped_epochs = 0;
  // Their root keys were never wrapped to the old key.
  uint64_t other_epochs = 0;
  // Their wraps are damaged in the key store: nobody opens them.
  uint64_t damaged_epochs = 0;
};

// Gives a recipient a new key pair, in the order that archiver/seal/FORMAT.md
// says ("Rotation"), so that it may be broken off anywhere: at no moment does a
// session become unreadable by the private keys that lie in the key folder, and
// the next call goes on. Media stays as it is.
// NOT_FOUND if the archive has no such recipient, or the key folder not its
// private key; PERMISSION_DENIED if the passphrase does not open it.
absl::StatusOr<RotationResult> RotateKey(const RotationOptions& options,
                                         KeyChanges* changes);

}  // namespace diptych::keys

#endif  // TOOLS_DIPTYCH_KEYS_KEY_ROTATION_H_
