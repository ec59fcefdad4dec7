#ifndef ARCHIVER_BASE_LOG_LINE_H_
#define ARCHIVER_BASE_LOG_LINE_H_

#include <initializer_list>
#include <utility>

#include "absl/strings/string_view.h"

namespace diptych::base {

enum class Severity { kInfo, kWarning, kError };

using LogField = std::pair<absl::string_view, absl::string_view>;

// One JSON line on stderr: {"time":…,"severity":…,"event":…, fields}. Fields
// may hold ids, counts, places and errors, never tag values, keys or payload.
// Thread-safe.
void LogLine(Severity severity, absl::string_view event,
             std::initializer_list<LogField> fields = {});

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_LOG_LINE_H_
