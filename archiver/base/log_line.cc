#include "archiver/base/log_line.h"

#include <unistd.h>

#include <cstddef>
#include <initializer_list>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace diptych::base {
namespace {

void AppendJsonString(absl::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(out, "\\u%04x", c);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

}  // namespace

void LogLine(Severity severity, absl::string_view event,
             std::initializer_list<LogField> fields) {
  const absl::string_view name = severity == Severity::kInfo      ? "info"
                                 : severity == Severity::kWarning ? "warning"
                                                                  : "error";
  std::string line =
      absl::StrCat("{\"time\":\"",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(),
                                    absl::UTCTimeZone()),
                   "\",\"severity\":\"", name, "\",\"event\":");
  AppendJsonString(event, &line);
  for (const auto& [key, value] : fields) {
    line.push_back(',');
    AppendJsonString(key, &line);
    line.push_back(':');
    AppendJsonString(value, &line);
  }
  line.append("}\n");
  // One write, so that lines of several threads and processes stay whole. If
  // stderr is gone there is nobody left to tell.
  [[maybe_unused]] const ssize_t wrote =
      write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace diptych::base
