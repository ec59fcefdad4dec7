#include "archiver/base/tag_keys.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/utf8.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::base {
namespace {

constexpr std::array<absl::string_view, 9> kWholeSessionKeys = {
    "resident", "committee", "street", "terminal", "ticket",
    "case",     "outcome",   "rating", "event"};

absl::Status BadTag(absl::string_view message) {
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD_TAG");
  return MakeError(absl::StatusCode::kInvalidArgument, message, detail);
}

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

absl::Status CheckTagKey(absl::string_view key) {
  if (key.empty() || key.size() > limits::kMaxTagKey_bytes ||
      !IsLower(key[0]) || !std::all_of(key.begin(), key.end(), [](char c) {
        return IsLower(c) || IsDigit(c) || c == '_' || c == '.' || c == '-';
      })) {
    return BadTag(
        "a tag key is a lower-case letter and up to 62 of a-z 0-9 _ . -");
  }
  return absl::OkStatus();
}

absl::Status CheckTagValue(absl::string_view key, absl::string_view value) {
  if (value.empty() || value.size() > limits::kMaxTagValue_bytes) {
    return BadTag(absl::StrCat("a value of the tag ", key, " has ",
                               value.size(), " bytes; 1 to ",
                               limits::kMaxTagValue_bytes, " are allowed"));
  }
  for (size_t i = 0; i < value.size();) {
    const size_t length = Utf8Length(value.substr(i));
    if (length == 0) {
      return BadTag(absl::StrCat("a value of the tag ", key,
                                 " is not UTF-8 at byte ", i));
    }
    const auto first = static_cast<uint8_t>(value[i]);
    if (first < 0x20 || first == 0x7f) {
      return BadTag(absl::StrCat("a value of the tag ", key,
                                 " has a control character at byte ", i));
    }
    i += length;
  }
  return absl::OkStatus();
}

absl::Status CheckEventType(absl::string_view type) {
  if (type.empty() || type.size() > limits::kMaxTagKey_bytes ||
      !IsLower(type[0]) || !std::all_of(type.begin(), type.end(), [](char c) {
        return IsLower(c) || IsDigit(c) || c == '_';
      })) {
    return BadTag(
        "an event's type is a lower-case letter and up to 62 of a-z 0-9 _");
  }
  return absl::OkStatus();
}

bool IsWholeSessionKey(absl::string_view key) {
  return std::find(kWholeSessionKeys.begin(), kWholeSessionKeys.end(), key) !=
         kWholeSessionKeys.end();
}

}  // namespace diptych::base
