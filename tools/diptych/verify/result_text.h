#ifndef TOOLS_DIPTYCH_VERIFY_RESULT_TEXT_H_
#define TOOLS_DIPTYCH_VERIFY_RESULT_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// Words for people and for JSON lines, the same everywhere.

// "00:01:12.345"; a minus sign before time 0.
std::string OffsetText(int64_t offset_us);
// "2026-11-01 08:30:00.000 UTC".
std::string TimeText(int64_t time_us);

// "signed", "archived", "nothing", "left_out".
absl::string_view StateWord(SecondState state);
// "as its gateway signed it", ...
absl::string_view StateText(SecondState state);

// Of the numbers that stored and wire messages share; as the command line says
// them elsewhere.
absl::string_view CodecWord(uint32_t codec);
absl::string_view SourceWord(uint32_t source);

// "track 1, resident camera (h264)".
// Why nobody vouches for the checkpoint.
std::string NotProvenText(const VerifyResult& result);

// Whether a checkpoint of so many leaves has all that the bundle shows of the
// session, the access record aside.
bool HasAll(const VerifyResult& result, uint64_t tree_size);

// "at 7 leaves, which have all of this": what such a checkpoint has.
std::string LeavesText(const VerifyResult& result, uint64_t tree_size);

std::string TrackText(const TrackResult& track);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_RESULT_TEXT_H_
