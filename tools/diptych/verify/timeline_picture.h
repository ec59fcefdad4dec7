#ifndef TOOLS_DIPTYCH_VERIFY_TIMELINE_PICTURE_H_
#define TOOLS_DIPTYCH_VERIFY_TIMELINE_PICTURE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// Text for HTML and SVG: what has a meaning there loses it, control characters
// and bytes that are not UTF-8 become U+FFFD.
std::string EscapeHtml(absl::string_view text);

// The tracks over the clip's time as an SVG element. Told apart by pattern as
// well as by colour, since pages are printed.
std::string TimelinePicture(const VerifyResult& result);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_TIMELINE_PICTURE_H_
