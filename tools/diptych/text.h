#ifndef TOOLS_DIPTYCH_TEXT_H_
#define TOOLS_DIPTYCH_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace diptych::cli {

// The same text without control characters (each becomes U+FFFD) and without
// broken UTF-8, so that what a tag says can't steer the reader's terminal.
std::string Printable(absl::string_view text);

// "1 file", "2 files".
std::string Counted(uint64_t count, absl::string_view one);

// Columns that Printable text takes on a terminal: two for East Asian wide
// characters, none for combining marks.
size_t DisplayWidth(absl::string_view text);

// Lines up columns for people.
class Table {
 public:
  // The last column is the one that gives way where space is short; all others
  // keep their width.
  explicit Table(std::vector<std::string> header);

  // REQUIRES: as many cells as the header has.
  void AddRow(std::vector<std::string> cells);

  bool empty() const { return rows_.size() == 1; }

  // Header and rows, each a line without its end, none wider than `width`
  // (0: no limit; what is cut ends with an ellipsis).
  std::vector<std::string> Render(size_t width) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_TEXT_H_
