#include "tools/diptych/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "tools/diptych/text.h"

namespace diptych::cli {
namespace {

constexpr absl::string_view kYellow = "\033[33m";
constexpr absl::string_view kRed = "\033[31m";
constexpr absl::string_view kReset = "\033[0m";
constexpr absl::string_view kClearLine = "\r\033[K";
constexpr size_t kBarCells = 30;
constexpr size_t kFallbackWidth = 80;

size_t TerminalWidth(int fd) {
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  return kFallbackWidth;
}

std::string Dump(const Json& json) {
  return json.dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                   Json::error_handler_t::replace);
}

// The user's own line and a caret under byte `caret`, whatever the width of the
// characters before it.
std::string CaretLines(absl::string_view text, size_t caret) {
  caret = std::min(caret, text.size());
  const size_t before = DisplayWidth(Printable(text.substr(0, caret)));
  return absl::StrCat("  ", Printable(text), "\n  ", std::string(before, ' '),
                      "^");
}

}  // namespace

OutputOptions DetectOutput(bool json, bool quiet) {
  OutputOptions options;
  options.json = json;
  options.quiet = quiet;
  options.stdout_is_terminal = isatty(STDOUT_FILENO) != 0;
  options.stderr_is_terminal = isatty(STDERR_FILENO) != 0;
  const char* no_color = std::getenv("NO_COLOR");
  options.color = options.stderr_is_terminal &&
                  (no_color == nullptr || no_color[0] == '\0');
  if (options.stdout_is_terminal) options.width = TerminalWidth(STDOUT_FILENO);
  return options;
}

Output::Output(const OutputOptions& options, std::ostream* data,
               std::ostream* messages)
    : options_(options),
      data_(data),
      messages_(messages),
      last_progress_(base::Clock::Real()->Monotonic()) {}

void Output::Line(absl::string_view message_type, const Json& fields) {
  if (!options_.json) return;
  EndProgress();
  Json line = {{"message_type", std::string(message_type)}};
  line.update(fields);
  *data_ << Dump(line) << '\n';
}

void Output::Text(absl::string_view line) {
  if (options_.json) return;
  EndProgress();
  *data_ << Printable(line) << '\n';
}

void Output::Flush() { data_->flush(); }

void Output::Summary(const Json& fields, absl::string_view text) {
  Line("summary", fields);
  data_->flush();
  if (!options_.json && !text.empty()) Note(text);
}

void Output::Note(absl::string_view line) {
  if (options_.quiet) return;
  EndProgress();
  *messages_ << Printable(line) << std::endl;
}

void Output::Warning(absl::string_view line) {
  EndProgress();
  if (options_.color) *messages_ << kYellow;
  *messages_ << "warning: " << Printable(line);
  if (options_.color) *messages_ << kReset;
  *messages_ << std::endl;
}

void Output::Progress(absl::string_view what, uint64_t done, uint64_t total) {
  if (options_.quiet || options_.json) return;
  const absl::Duration now = base::Clock::Real()->Monotonic();
  if (now - last_progress_ < (options_.stderr_is_terminal
                                  ? options_.bar_interval
                                  : options_.line_interval)) {
    return;
  }
  done = total == 0 ? done : std::min(done, total);
  const uint64_t tenth =
      total == 0 ? 0
                 : static_cast<uint64_t>(10.0 * static_cast<double>(done) /
                                         static_cast<double>(total));
  if (!options_.stderr_is_terminal) {
    if (total == 0 || tenth <= last_tenth_) return;
    last_tenth_ = tenth;
    last_progress_ = now;
    *messages_ << Printable(what) << ": " << tenth * 10 << " %" << std::endl;
    return;
  }
  bar_shown_ = true;
  last_progress_ = now;
  *messages_ << kClearLine << Printable(what) << ' ';
  if (total == 0) {
    *messages_ << FormatBytes(done);
  } else {
    const double share = static_cast<double>(done) / static_cast<double>(total);
    const size_t cells = static_cast<size_t>(share * kBarCells);
    *messages_ << '[' << std::string(cells, '#')
               << std::string(kBarCells - cells, '.') << "] "
               << static_cast<int>(share * 100) << " %";
  }
  messages_->flush();
}

void Output::EndProgress() {
  if (!bar_shown_) return;
  bar_shown_ = false;
  *messages_ << kClearLine;
  messages_->flush();
}

void Output::Error(const absl::Status& status, int exit_code,
                   absl::string_view echo, size_t caret) {
  EndProgress();
  const std::string message(status.message());
  if (options_.color) *messages_ << kRed;
  *messages_ << "diptych: " << Printable(message);
  if (options_.color) *messages_ << kReset;
  *messages_ << std::endl;
  if (!echo.empty()) *messages_ << CaretLines(echo, caret) << std::endl;
  Json fields = {{"code", absl::StatusCodeToString(status.code())},
                 {"exit_code", exit_code},
                 {"message", message}};
  if (const auto detail = base::GetErrorDetail(status)) {
    if (!detail->reason().empty()) fields["reason"] = detail->reason();
    if (!detail->session_id().empty()) fields["session"] = detail->session_id();
    if (!detail->field().empty()) {
      fields["field"] = detail->field();
      fields["field_offset"] = detail->field_offset();
    }
  }
  Line("error", fields);
  data_->flush();
}

std::string FormatUtc(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

std::string FormatOffset(int64_t offset_us) {
  const bool negative = offset_us < 0;
  const int64_t ms = std::abs(offset_us / 1000);
  return absl::StrFormat("%s%d:%02d:%02d.%03d", negative ? "-" : "",
                         ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60,
                         ms % 1000);
}

std::string FormatBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

double Seconds(int64_t duration_us) {
  return std::round(static_cast<double>(duration_us) / 1000) / 1000;
}

}  // namespace diptych::cli
