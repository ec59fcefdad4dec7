#ifndef TOOLS_DIPTYCH_VERIFY_JSON_FIELDS_H_
#define TOOLS_DIPTYCH_VERIFY_JSON_FIELDS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::verify {

// Parses JSON that came from outside: DATA_LOSS, naming `place`, if it is none,
// an object has a key twice, or there is more of it than
// limits::kMaxEvidenceValues and kMaxEvidenceDepth.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text,
                                         absl::string_view place);

// Base64 with padding in its one canonical form; false otherwise.
bool DecodeBase64(absl::string_view text, std::string* bytes);

// Takes an object apart. The first thing that is not as it should be is kept as
// a DATA_LOSS that names the place; everything read after it is empty. Not
// thread-safe; must not outlive the JSON.
class JsonFields {
 public:
  // `error` collects the first error of this and all objects within.
  JsonFields(const nlohmann::json& value, std::string place,
             absl::Status* error);

  bool Has(const char* name) const;
  // Integers that are not there are 0.
  uint64_t UInt(const char* name,
                uint64_t max = std::numeric_limits<uint64_t>::max()) const;
  int64_t Int(const char* name) const;
  // Any number; one that is not there is 0.
  double Real(const char* name) const;
  bool Bool(const char* name) const;
  std::string Text(const char* name) const;
  // Empty if it is not there.
  std::string OptionalText(const char* name) const;
  std::string Bytes(const char* name) const;
  std::string OptionalBytes(const char* name) const;
  // 32 bytes.
  std::string Hash(const char* name) const;
  // Lists that are not there are empty.
  std::vector<std::string> Hashes(const char* name) const;
  std::vector<uint32_t> Numbers(const char* name) const;
  void ForEach(const char* name,
               const std::function<void(const JsonFields&)>& use) const;
  // Not called if there is no such object, or null in its place.
  void IfObject(const char* name,
                const std::function<void(const JsonFields&)>& use) const;

  const std::string& place() const { return place_; }
  void Fail(absl::string_view name, absl::string_view what) const;

 private:
  const nlohmann::json* Find(const char* name, bool required) const;

  const nlohmann::json& value_;
  const std::string place_;
  absl::Status* const error_;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_JSON_FIELDS_H_
