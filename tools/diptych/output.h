#ifndef TOOLS_DIPTYCH_OUTPUT_H_
#define TOOLS_DIPTYCH_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace diptych::cli {

using Json = nlohmann::ordered_json;

struct OutputOptions {
  bool json = false;
  bool quiet = false;
  bool stdout_is_terminal = false;
  bool stderr_is_terminal = false;
  // False under NO_COLOR.
  bool color = false;
  // Columns of the terminal that stdout is; 0: lines may have any length.
  size_t width = 0;
  // Progress comes no more often than this: as a line, and redrawn as a bar.
  absl::Duration line_interval = absl::Seconds(1);
  absl::Duration bar_interval = absl::Milliseconds(100);
};

// What the environment and the two streams say; json and quiet as given.
OutputOptions DetectOutput(bool json, bool quiet);

// The one door to stdout and stderr. Data goes to stdout, as text or, with
// --json, as JSON lines; everything else to stderr. Every command writes either
// both forms of a datum (Line and Text) or one Line per datum, and ends with
// Summary; main writes Error instead if the command failed. Control characters
// in text are made harmless, as tags come from outside. Not thread-safe.
class Output {
 public:
  Output(const OutputOptions& options, std::ostream* data,
         std::ostream* messages);

  bool json() const { return options_.json; }
  bool quiet() const { return options_.quiet; }
  size_t width() const { return options_.width; }
  bool stdout_is_terminal() const { return options_.stdout_is_terminal; }

  // A JSON line on stdout with `message_type` in front; nothing without --json.
  void Line(absl::string_view message_type, const Json& fields);

  // A line of data for people on stdout; nothing with --json.
  void Text(absl::string_view line);

  // Hands over what was written to stdout so far, for readers that wait for it.
  void Flush();

  // The last JSON line. People see `text`, on stderr, unless it is empty or the
  // command is quiet.
  void Summary(const Json& fields, absl::string_view text);

  // On stderr, unless quiet.
  void Note(absl::string_view line);

  // On stderr, always; yellow on a terminal.
  void Warning(absl::string_view line);

  // How far something is: a bar that is redrawn in place on a terminal, else a
  // plain line now and then, each at least a tenth further; nothing with quiet
  // or
  // --json. `total` 0: unknown. Cheap enough for every record.
  void Progress(absl::string_view what, uint64_t done, uint64_t total);

  // Ends a bar. Called by all others too.
  void EndProgress();

  // "diptych: MESSAGE" on stderr, and the JSON line `error` with --json.
  // `echo`, if not empty, is the user's own text that is wrong at byte `caret`:
  // it is shown on stderr with a caret under the place.
  void Error(const absl::Status& status, int exit_code,
             absl::string_view echo = "", size_t caret = 0);

 private:
  const OutputOptions options_;
  std::ostream* const data_;
  std::ostream* const messages_;
  bool bar_shown_ = false;
  uint64_t last_tenth_ = 0;
  // By base::Clock's monotonic time.
  absl::Duration last_progress_;
};

// RFC 3339 in UTC with milliseconds.
std::string FormatUtc(absl::Time time);

// "1:02:03.004"; for people.
std::string FormatOffset(int64_t offset_us);

// "1.2 MiB"; for people.
std::string FormatBytes(uint64_t bytes);

// Seconds with at most millisecond precision, for JSON.
double Seconds(int64_t duration_us);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_OUTPUT_H_
