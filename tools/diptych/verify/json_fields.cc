#include "tools/diptych/verify/json_fields.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"

namespace diptych::verify {
namespace {

using Json = nlohmann::json;

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text,
                               absl::string_view place) {
  size_t values = 0;
  bool too_much = false;
  bool twice = false;
  // Keys of the objects that are open.
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    too_much |= ++values > limits::kMaxEvidenceValues ||
                depth > static_cast<int>(limits::kMaxEvidenceDepth);
    // What is dropped takes no memory.
    if (too_much) return false;
    switch (event) {
      case Json::parse_event_t::object_start:
        keys.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        if (!keys.empty()) keys.pop_back();
        break;
      case Json::parse_event_t::key:
        twice |= !keys.empty() &&
                 !keys.back().insert(parsed.get<std::string>()).second;
        break;
      default:
        break;
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), watch,
                          /*allow_exceptions=*/false);
  if (too_much) {
    return base::IntegrityError(
        absl::StrCat(place, ": has more values than any bundle"));
  }
  if (json.is_discarded() || !json.is_object()) {
    return base::IntegrityError(absl::StrCat(place, ": is not a JSON object"));
  }
  if (twice) {
    return base::IntegrityError(
        absl::StrCat(place, ": an object has a field twice"));
  }
  return json;
}

bool DecodeBase64(absl::string_view text, std::string* bytes) {
  // The decoder takes spaces and lacking padding, and bits that mean nothing.
  return absl::Base64Unescape(text, bytes) &&
         absl::Base64Escape(*bytes) == text;
}

JsonFields::JsonFields(const Json& value, std::string place,
                       absl::Status* error)
    : value_(value), place_(std::move(place)), error_(error) {
  if (!value_.is_object()) Fail("", "is not an object");
}

void JsonFields::Fail(absl::string_view name, absl::string_view what) const {
  if (!error_->ok()) return;
  *error_ = base::IntegrityError(
      absl::StrCat(place_, name.empty() ? "" : ".", name, ": ", what));
}

const Json* JsonFields::Find(const char* name, bool required) const {
  if (!error_->ok() || !value_.is_object()) return nullptr;
  const auto found = value_.find(name);
  if (found != value_.end()) return &*found;
  if (required) Fail(name, "is missing");
  return nullptr;
}

bool JsonFields::Has(const char* name) const {
  const Json* found = Find(name, false);
  return found != nullptr && !found->is_null();
}

uint64_t JsonFields::UInt(const char* name, uint64_t max) const {
  const Json* found = Find(name, false);
  if (found == nullptr) return 0;
  if (!found->is_number_unsigned() || found->get<uint64_t>() > max) {
    Fail(name, "is no number that can stand here");
    return 0;
  }
  return found->get<uint64_t>();
}

double JsonFields::Real(const char* name) const {
  const Json* found = Find(name, false);
  if (found == nullptr) return 0;
  if (!found->is_number()) {
    Fail(name, "is no number");
    return 0;
  }
  return found->get<double>();
}

int64_t JsonFields::Int(const char* name) const {
  const Json* found = Find(name, false);
  if (found == nullptr) return 0;
  // Times of a million years have no place in any sum that follows.
  constexpr int64_t kMost = int64_t{1} << 60;
  if (!found->is_number_integer() || found->get<int64_t>() > kMost ||
      found->get<int64_t>() < -kMost) {
    Fail(name, "is no number that can stand here");
    return 0;
  }
  return found->get<int64_t>();
}

bool JsonFields::Bool(const char* name) const {
  const Json* found = Find(name, true);
  if (found == nullptr) return false;
  if (!found->is_boolean()) {
    Fail(name, "is neither true nor false");
    return false;
  }
  return found->get<bool>();
}

std::string JsonFields::Text(const char* name) const {
  const Json* found = Find(name, true);
  if (found == nullptr) return "";
  if (!found->is_string()) {
    Fail(name, "is no text");
    return "";
  }
  return found->get<std::string>();
}

std::string JsonFields::OptionalText(const char* name) const {
  return Has(name) ? Text(name) : "";
}

std::string JsonFields::Bytes(const char* name) const {
  const Json* found = Find(name, true);
  if (found == nullptr) return "";
  std::string bytes;
  if (!found->is_string() ||
      !DecodeBase64(found->get_ref<const std::string&>(), &bytes)) {
    Fail(name, "is not base64");
    return "";
  }
  return bytes;
}

std::string JsonFields::OptionalBytes(const char* name) const {
  return Has(name) ? Bytes(name) : "";
}

std::string JsonFields::Hash(const char* name) const {
  std::string bytes = Bytes(name);
  if (error_->ok() && bytes.size() != base::kSha256_bytes) {
    Fail(name, "has not 32 bytes");
  }
  return bytes;
}

std::vector<std::string> JsonFields::Hashes(const char* name) const {
  std::vector<std::string> hashes;
  const Json* found = Find(name, false);
  if (found == nullptr) return hashes;
  if (!found->is_array()) {
    Fail(name, "is no list");
    return hashes;
  }
  for (const Json& item : *found) {
    std::string bytes;
    if (!item.is_string() ||
        !DecodeBase64(item.get_ref<const std::string&>(), &bytes) ||
        bytes.size() != base::kSha256_bytes) {
      Fail(absl::StrCat(name, "[", hashes.size(), "]"),
           "is not 32 bytes in base64");
      return {};
    }
    hashes.push_back(std::move(bytes));
  }
  return hashes;
}

std::vector<uint32_t> JsonFields::Numbers(const char* name) const {
  std::vector<uint32_t> numbers;
  const Json* found = Find(name, false);
  if (found == nullptr) return numbers;
  if (!found->is_array()) {
    Fail(name, "is no list");
    return numbers;
  }
  for (const Json& item : *found) {
    if (!item.is_number_unsigned() ||
        item.get<uint64_t>() > std::numeric_limits<uint32_t>::max()) {
      Fail(absl::StrCat(name, "[", numbers.size(), "]"),
           "is no number that can stand here");
      return {};
    }
    numbers.push_back(item.get<uint32_t>());
  }
  return numbers;
}

void JsonFields::ForEach(
    const char* name, const std::function<void(const JsonFields&)>& use) const {
  const Json* found = Find(name, false);
  if (found == nullptr) return;
  if (!found->is_array()) {
    Fail(name, "is no list");
    return;
  }
  size_t at = 0;
  for (const Json& item : *found) {
    const JsonFields fields(item, absl::StrCat(place_, ".", name, "[", at, "]"),
                            error_);
    if (!error_->ok()) return;
    use(fields);
    if (!error_->ok()) return;
    ++at;
  }
}

void JsonFields::IfObject(
    const char* name, const std::function<void(const JsonFields&)>& use) const {
  if (!Has(name)) return;
  const JsonFields fields(*Find(name, false), absl::StrCat(place_, ".", name),
                          error_);
  if (error_->ok()) use(fields);
}

}  // namespace diptych::verify
