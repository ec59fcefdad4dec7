#ifndef TOOLS_DIPTYCH_VERIFY_MP4_SHAPE_H_
#define TOOLS_DIPTYCH_VERIFY_MP4_SHAPE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/file.h"

namespace diptych::verify {

// Which of a track's time players show, in milliseconds of the file; what lies
// outside is in the file all the same.
struct ShownTime {
  int64_t from_ms = 0;
  int64_t to_ms = 0;
};

// As CheckMatroskaShape, for MP4 (ISO/IEC 14496-12): only the boxes that the
// archive's exports have, pictures not turned, tracks switched on, edit lists
// of one stretch at normal speed. Returns what is shown of each track, in the
// order of the file. The index is read whole, up to limits::kMaxMp4Index_bytes.
absl::StatusOr<std::vector<ShownTime>> CheckMp4Shape(base::ReadFile* file,
                                                     const std::string& place);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_MP4_SHAPE_H_
