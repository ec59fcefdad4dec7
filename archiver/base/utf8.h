#ifndef ARCHIVER_BASE_UTF8_H_
#define ARCHIVER_BASE_UTF8_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace diptych::base {

// The length of the UTF-8 sequence that begins `text`, 0 if none does (RFC
// 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
// REQUIRES: `text` is not empty.
size_t Utf8Length(absl::string_view text);

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_UTF8_H_
