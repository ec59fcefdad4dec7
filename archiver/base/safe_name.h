#ifndef ARCHIVER_BASE_SAFE_NAME_H_
#define ARCHIVER_BASE_SAFE_NAME_H_

#include <string>

#include "absl/strings/string_view.h"

namespace diptych::base {

// A name from outside as part of a file's name: its first 100 bytes, with "_"
// for all that is no ASCII letter or digit and no "-", "_" or "."; also for a
// "." at its beginning. Part of what bundles look like
// (archiver/evidence/BUNDLE_FORMAT.md).
std::string SafeName(absl::string_view name);

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_SAFE_NAME_H_
