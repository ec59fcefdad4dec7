#include "tools/diptych/text.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace diptych::cli {
namespace {

constexpr char32_t kReplacement = 0xFFFD;
constexpr absl::string_view kEllipsis = "\u2026";
constexpr absl::string_view kColumnGap = "  ";

struct Character {
  char32_t code = kReplacement;
  size_t bytes = 1;
};

// The first character of `text`, which is not empty; broken UTF-8 counts as one
// replacement character per byte.
Character Decode(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  size_t bytes = 0;
  char32_t code = 0;
  char32_t smallest = 0;
  if ((first & 0xE0) == 0xC0) {
    bytes = 2, code = first & 0x1F, smallest = 0x80;
  } else if ((first & 0xF0) == 0xE0) {
    bytes = 3, code = first & 0x0F, smallest = 0x800;
  } else if ((first & 0xF8) == 0xF0) {
    bytes = 4, code = first & 0x07, smallest = 0x10000;
  } else {
    return {};
  }
  if (text.size() < bytes) return {};
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = (code << 6) | (byte(i) & 0x3F);
  }
  if (code < smallest || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
    return {};
  }
  return {code, bytes};
}

// C0, C1, line separators, and the marks that turn the direction of writing.
bool IsControl(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 ||
         code == 0x2029 || code == 0x200E || code == 0x200F ||
         (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

size_t CharacterWidth(char32_t code) {
  if ((code >= 0x300 && code < 0x370) || code == 0x200B || code == 0x200C ||
      code == 0x200D || (code >= 0xFE00 && code <= 0xFE0F)) {
    return 0;
  }
  const bool wide = (code >= 0x1100 && code <= 0x115F) ||
                    (code >= 0x2E80 && code <= 0xA4CF) ||
                    (code >= 0xAC00 && code <= 0xD7A3) ||
                    (code >= 0xF900 && code <= 0xFAFF) ||
                    (code >= 0xFE30 && code <= 0xFE6F) ||
                    (code >= 0xFF00 && code <= 0xFF60) ||
                    (code >= 0xFFE0 && code <= 0xFFE6) ||
                    (code >= 0x1F300 && code <= 0x1FAFF) ||
                    (code >= 0x20000 && code <= 0x3FFFD);
  return wide ? 2 : 1;
}

// `text` in at most `width` columns.
std::string Fit(const std::string& text, size_t width) {
  if (DisplayWidth(text) <= width) return text;
  if (width == 0) return "";
  std::string fitted;
  size_t used = 0;
  absl::string_view rest = text;
  while (!rest.empty()) {
    const Character character = Decode(rest);
    const size_t columns = CharacterWidth(character.code);
    if (used + columns > width - 1) break;
    used += columns;
    absl::StrAppend(&fitted, rest.substr(0, character.bytes));
    rest.remove_prefix(character.bytes);
  }
  return absl::StrCat(fitted, kEllipsis);
}

}  // namespace

std::string Printable(absl::string_view text) {
  std::string printable;
  printable.reserve(text.size());
  while (!text.empty()) {
    const Character character = Decode(text);
    if (character.code == kReplacement || IsControl(character.code)) {
      absl::StrAppend(&printable, "\uFFFD");
    } else {
      absl::StrAppend(&printable, text.substr(0, character.bytes));
    }
    text.remove_prefix(character.bytes);
  }
  return printable;
}

std::string Counted(uint64_t count, absl::string_view one) {
  return absl::StrCat(count, " ", one, count == 1 ? "" : "s");
}

size_t DisplayWidth(absl::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const Character character = Decode(text);
    width += CharacterWidth(character.code);
    text.remove_prefix(character.bytes);
  }
  return width;
}

Table::Table(std::vector<std::string> header) { AddRow(std::move(header)); }

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::Render(size_t width) const {
  const size_t columns = rows_.front().size();
  std::vector<size_t> widths(columns, 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < columns; ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
    }
  }
  std::vector<std::string> lines;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i + 1 < columns; ++i) {
      absl::StrAppend(&line, row[i],
                      std::string(widths[i] - DisplayWidth(row[i]), ' '),
                      kColumnGap);
    }
    absl::StrAppend(&line, row.back());
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(width == 0 ? line : Fit(line, width));
  }
  return lines;
}

}  // namespace diptych::cli
