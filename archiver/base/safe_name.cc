#include "archiver/base/safe_name.h"

#include <cstddef>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

namespace diptych::base {

std::string SafeName(absl::string_view name) {
  constexpr size_t kMaxName_bytes = 100;
  std::string safe;
  for (const char c : name.substr(0, kMaxName_bytes)) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                       c == '-' || c == '_' || (c == '.' && !safe.empty());
    safe.push_back(plain ? c : '_');
  }
  return safe;
}

}  // namespace diptych::base
