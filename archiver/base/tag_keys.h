#ifndef ARCHIVER_BASE_TAG_KEYS_H_
#define ARCHIVER_BASE_TAG_KEYS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace diptych::base {

// The rules of tags (ARCHITECTURE.md, "Tags").

// INVALID_ARGUMENT unless `key` is [a-z][a-z0-9_.-]{0,62}. The message names
// the key's fault, never a value.
absl::Status CheckTagKey(absl::string_view key);

// INVALID_ARGUMENT unless `value` is 1 to 256 bytes of UTF-8 without control
// characters. The message names `key`.
absl::Status CheckTagValue(absl::string_view key, absl::string_view value);

// [a-z][a-z0-9_]{0,62}.
absl::Status CheckEventType(absl::string_view type);

// True for keys that hold for the whole session, also backwards; others hold
// from their time on.
bool IsWholeSessionKey(absl::string_view key);

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_TAG_KEYS_H_
