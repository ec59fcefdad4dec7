#ifndef TOOLS_DIPTYCH_OFFSET_H_
#define TOOLS_DIPTYCH_OFFSET_H_

#include <cstdint>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace diptych::cli {

// A place on the session timeline, in µs from its start: "90s", "1500ms",
// "2m30s", "2.5" (seconds), "00:01:30", "01:30.250". Never negative, at most
// limits::kSessionMax_us. INVALID_ARGUMENT otherwise.
absl::StatusOr<int64_t> ParseOffset_us(absl::string_view text);

// An offset as above, or an RFC 3339 time ("2026-11-01T08:30:00Z").
using TimePoint = std::variant<int64_t, absl::Time>;
absl::StatusOr<TimePoint> ParseTimePoint(absl::string_view text);

// "5%", "0.5%": more than 0, at most 100; the result is in parts of one.
absl::StatusOr<double> ParseShare(absl::string_view text);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_OFFSET_H_
