#ifndef TOOLS_DIPTYCH_VERIFY_MATROSKA_SHAPE_H_
#define TOOLS_DIPTYCH_VERIFY_MATROSKA_SHAPE_H_

#include <string>

#include "absl/status/status.h"
#include "archiver/base/file.h"

namespace diptych::verify {

// A player reads more of a file than its packets: cropping, chapters, further
// text, frames marked as not to be shown. Takes only those elements of Matroska
// (RFC 9559) that the archive's exports have, each master with a CRC-32 that is
// right, blocks without lacing and none hidden, and nothing before, between and
// behind. DATA_LOSS, naming `place` and the byte, otherwise. Reads in pieces.
absl::Status CheckMatroskaShape(base::ReadFile* file, const std::string& place);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_MATROSKA_SHAPE_H_
