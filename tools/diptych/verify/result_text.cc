#include "tools/diptych/verify/result_text.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/api/v1/common.pb.h"
#include "tools/diptych/verify/verify_result.h"
#include "tools/diptych/wire_text.h"

namespace diptych::verify {

std::string OffsetText(int64_t offset_us) {
  const bool negative = offset_us < 0;
  const int64_t ms = (negative ? -offset_us : offset_us) / 1000;
  return absl::StrFormat("%s%02d:%02d:%02d.%03d", negative ? "-" : "",
                         ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60,
                         ms % 1000);
}

std::string TimeText(int64_t time_us) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%E3S UTC",
                          absl::FromUnixMicros(time_us), absl::UTCTimeZone());
}

absl::string_view StateWord(SecondState state) {
  switch (state) {
    case SecondState::kNothing:
      return "nothing";
    case SecondState::kLeftOut:
      return "left_out";
    case SecondState::kArchived:
      return "archived";
    case SecondState::kSigned:
      return "signed";
  }
  return "";
}

absl::string_view StateText(SecondState state) {
  switch (state) {
    case SecondState::kNothing:
      return "nothing was recorded";
    case SecondState::kLeftOut:
      return "not in this bundle";
    case SecondState::kArchived:
      return "as the archive stored it; not signed by its gateway";
    case SecondState::kSigned:
      return "as its gateway signed it";
  }
  return "";
}

absl::string_view CodecWord(uint32_t codec) {
  return cli::CodecWord(static_cast<api::v1::Codec>(codec));
}

absl::string_view SourceWord(uint32_t source) {
  return cli::SourceWord(static_cast<api::v1::Source>(source));
}

std::string NotProvenText(const VerifyResult& result) {
  return result.other_log_keys
             ? absl::StrCat(
                   "Consistent, but not proven: none of the keys given signed "
                   "this (its key is ",
                   result.log_key.id, ").")
             : "Consistent, but not proven: give --log-key.";
}

bool HasAll(const VerifyResult& result, uint64_t tree_size) {
  return tree_size > result.last_leaf;
}

std::string LeavesText(const VerifyResult& result, uint64_t tree_size) {
  std::string text = absl::StrCat(
      "at ", tree_size, tree_size == 1 ? " leaf" : " leaves", ", which have ");
  if (tree_size <= result.first_leaf) {
    return absl::StrCat(text, "nothing of this");
  }
  absl::StrAppend(&text, HasAll(result, tree_size) ? "all" : "not all",
                  " of this");
  if (HasAll(result, tree_size) && tree_size <= result.access_leaf) {
    absl::StrAppend(&text, " but who asked for it");
  }
  return text;
}

std::string TrackText(const TrackResult& track) {
  return absl::StrCat("track ", track.track_id, ", ", track.side, " ",
                      track.source, " (", track.codec, ")");
}

}  // namespace diptych::verify
