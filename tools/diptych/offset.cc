#include "tools/diptych/offset.h"

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"

namespace diptych::cli {
namespace {

constexpr absl::string_view kOffsetForms =
    "an offset is 90s, 1500ms, 2m30s, 2.5 (seconds) or 00:01:30";

// Digits with at most one point; no sign, exponent, hexadecimal or "inf".
std::optional<double> ParsePlainNumber(absl::string_view text) {
  size_t digits = 0;
  size_t points = 0;
  for (const char c : text) {
    if (c == '.') {
      ++points;
    } else if (absl::ascii_isdigit(static_cast<unsigned char>(c))) {
      ++digits;
    } else {
      return std::nullopt;
    }
  }
  double value = 0;
  if (digits == 0 || points > 1 || !absl::SimpleAtod(text, &value)) {
    return std::nullopt;
  }
  return value;
}

// "MM:SS" or "HH:MM:SS", the seconds with a fraction or without.
std::optional<double> ParseClock(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() < 2 || parts.size() > 3) return std::nullopt;
  double seconds = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    if (!last && parts[i].find('.') != absl::string_view::npos) {
      return std::nullopt;
    }
    const std::optional<double> value = ParsePlainNumber(parts[i]);
    if (!value.has_value() || (i > 0 && *value >= 60)) return std::nullopt;
    seconds = seconds * 60 + *value;
  }
  return seconds;
}

}  // namespace

absl::StatusOr<int64_t> ParseOffset_us(absl::string_view text) {
  std::optional<double> seconds = ParsePlainNumber(text);
  if (!seconds.has_value()) seconds = ParseClock(text);
  if (!seconds.has_value() && !text.empty() &&
      absl::ascii_isdigit(static_cast<unsigned char>(text.front()))) {
    absl::Duration duration;
    if (absl::ParseDuration(text, &duration)) {
      seconds = absl::ToDoubleSeconds(duration);
    }
  }
  if (!seconds.has_value()) return absl::InvalidArgumentError(kOffsetForms);
  const double microseconds = std::round(*seconds * 1e6);
  if (!(microseconds >= 0) ||
      microseconds > static_cast<double>(limits::kSessionMax_us)) {
    return absl::InvalidArgumentError(
        "an offset is between 0 and ten days from the session's start");
  }
  return static_cast<int64_t>(microseconds);
}

absl::StatusOr<TimePoint> ParseTimePoint(absl::string_view text) {
  if (text.find('T') != absl::string_view::npos ||
      text.find('t') != absl::string_view::npos) {
    absl::Time time;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, absl::AsciiStrToUpper(text), &time,
                         &error) ||
        time == absl::InfiniteFuture() || time == absl::InfinitePast()) {
      return absl::InvalidArgumentError(
          "a time is written as 2026-11-01T08:30:00Z");
    }
    return TimePoint(time);
  }
  absl::StatusOr<int64_t> offset = ParseOffset_us(text);
  if (!offset.ok()) return offset.status();
  return TimePoint(*offset);
}

absl::StatusOr<double> ParseShare(absl::string_view text) {
  const bool has_sign = absl::ConsumeSuffix(&text, "%");
  const std::optional<double> percent = ParsePlainNumber(text);
  if (!has_sign || !percent.has_value() || *percent <= 0 || *percent > 100) {
    return absl::InvalidArgumentError(
        "a share is written as 5%: more than 0, at most 100");
  }
  return *percent / 100;
}

}  // namespace diptych::cli
