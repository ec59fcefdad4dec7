#include "tools/diptych/verify/timeline_picture.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "archiver/base/utf8.h"
#include "tools/diptych/verify/result_text.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr absl::string_view kReplacement = "\xef\xbf\xbd";
constexpr int kLeft = 210;
constexpr int kWidth = 760;
constexpr int kRow = 26;
constexpr int kBar = 16;
constexpr int kTop = 24;
constexpr int kTicks = 6;
// Bars of one track: narrower ones would be less than a dot of a printer.
constexpr size_t kMaxBars = 4000;

constexpr absl::string_view kPatterns =
    "<defs>"
    "<pattern id=\"archived\" width=\"6\" height=\"6\" "
    "patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"6\" "
    "fill=\"#cfe0f5\"/><path d=\"M0 6L6 0\" stroke=\"#2b5f9e\"/></pattern>"
    "<pattern id=\"left_out\" width=\"5\" height=\"5\" "
    "patternUnits=\"userSpaceOnUse\"><rect width=\"5\" height=\"5\" "
    "fill=\"#fbe3df\"/><path d=\"M0 0L5 5M5 0L0 5\" stroke=\"#b3261e\"/>"
    "</pattern></defs>";

absl::string_view Fill(SecondState state) {
  switch (state) {
    case SecondState::kSigned:
      return "#1e6b3a";
    case SecondState::kArchived:
      return "url(#archived)";
    case SecondState::kLeftOut:
      return "url(#left_out)";
    case SecondState::kNothing:
      return "#ffffff";
  }
  return "";
}

std::string Box(double x, int y, double width, absl::string_view fill) {
  return absl::StrFormat(
      "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\" "
      "stroke=\"#555\" stroke-width=\"0.3\"/>",
      x, y, width, kBar, fill);
}

std::string Text(double x, int y, absl::string_view anchor,
                 absl::string_view text) {
  return absl::StrFormat(
      "<text x=\"%.2f\" y=\"%d\" text-anchor=\"%s\">%s</text>", x, y, anchor,
      EscapeHtml(text));
}

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  while (!text.empty()) {
    const size_t length = base::Utf8Length(text);
    const auto first = static_cast<unsigned char>(text.front());
    if (length == 0 || first == 0x7f ||
        (first < 0x20 && first != '\n' && first != '\t')) {
      absl::StrAppend(&escaped, kReplacement);
      text.remove_prefix(1);
      continue;
    }
    const absl::string_view character = text.substr(0, length);
    text.remove_prefix(length);
    // C1 controls, and marks that turn the direction of what follows.
    if ((length == 2 && first == 0xc2 &&
         static_cast<unsigned char>(character[1]) < 0xa0) ||
        (length == 3 &&
         ((character >= "\xe2\x80\xaa" && character <= "\xe2\x80\xae") ||
          (character >= "\xe2\x81\xa6" && character <= "\xe2\x81\xa9")))) {
      absl::StrAppend(&escaped, kReplacement);
      continue;
    }
    switch (first) {
      case '&':
        escaped.append("&amp;");
        break;
      case '<':
        escaped.append("&lt;");
        break;
      case '>':
        escaped.append("&gt;");
        break;
      case '"':
        escaped.append("&quot;");
        break;
      case '\'':
        escaped.append("&#39;");
        break;
      default:
        absl::StrAppend(&escaped, character);
    }
  }
  return escaped;
}

std::string TimelinePicture(const VerifyResult& result) {
  const int rows = static_cast<int>(result.tracks.size());
  const int height = kTop + rows * kRow + 10;
  const double span =
      static_cast<double>(std::max<int64_t>(result.to_us - result.from_us, 1));
  const auto x_of = [&](int64_t at_us) {
    return kLeft + static_cast<double>(at_us - result.from_us) / span * kWidth;
  };
  std::string svg = absl::StrFormat(
      "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Timeline of the "
      "tracks\" font-size=\"11\" font-family=\"sans-serif\">",
      kLeft + kWidth + 40, height);
  absl::StrAppend(&svg, kPatterns);
  for (int i = 0; i <= kTicks; ++i) {
    const int64_t at_us =
        result.from_us + (result.to_us - result.from_us) / kTicks * i;
    // Whole seconds are enough for a tick.
    const std::string text = OffsetText(at_us);
    absl::StrAppend(&svg, Text(x_of(at_us), kTop - 10, "middle",
                               text.substr(0, text.size() - 4)));
  }
  for (int row = 0; row < rows; ++row) {
    const TrackResult& track = result.tracks[static_cast<size_t>(row)];
    const int y = kTop + row * kRow;
    absl::StrAppend(&svg, Text(0, y + kBar - 4, "start",
                               absl::StrCat(track.track_id, "  ", track.side,
                                            " ", track.source)));
    size_t bars = 0;
    for (const StateRange& range : track.ranges) {
      if (++bars > kMaxBars) break;
      absl::StrAppend(&svg, Box(x_of(range.from_us), y,
                                x_of(range.to_us) - x_of(range.from_us),
                                Fill(range.state)));
    }
  }
  svg.append("</svg>\n<p class=\"key\">");
  for (const SecondState state :
       {SecondState::kSigned, SecondState::kArchived, SecondState::kLeftOut,
        SecondState::kNothing}) {
    absl::StrAppend(&svg,
                    "<svg viewBox=\"0 0 24 16\" width=\"24\" height=\"16\">",
                    Box(0, 0, 24, Fill(state)), "</svg> ",
                    EscapeHtml(StateText(state)), " &nbsp; ");
  }
  svg.append("</p>\n");
  return svg;
}

}  // namespace diptych::verify
