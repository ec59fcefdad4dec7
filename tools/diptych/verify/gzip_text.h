#ifndef TOOLS_DIPTYCH_VERIFY_GZIP_TEXT_H_
#define TOOLS_DIPTYCH_VERIFY_GZIP_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::verify {

// What is in a gzip file as bundles have it: one member with the header that
// BUNDLE_FORMAT.md gives, and nothing behind it, not even a bit. DATA_LOSS,
// saying what is wrong, if it is not one, or holds more than `max_bytes`.
absl::StatusOr<std::string> UnpackGzip(absl::string_view packed,
                                       size_t max_bytes);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_GZIP_TEXT_H_
