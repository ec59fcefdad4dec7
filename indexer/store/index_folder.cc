#include "indexer/store/index_folder.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

// What of an archive is not the index's (ARCHITECTURE.md).
constexpr std::array<absl::string_view, 5> kParts = {"volumes", "keystore",
                                                     "tlog", "tls", "run"};

// Without links, "." and "..", and a slash at its end.
fs::path Plain(const std::string& path) {
  std::error_code error;
  fs::path plain = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) plain = fs::path(path).lexically_normal();
  return plain.has_filename() ? plain : plain.parent_path();
}

// Whether `inner` is `outer` or lies in it.
bool LiesIn(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end())
             .first == outer.end();
}

}  // namespace

absl::Status CheckIndexFolder(const std::string& index, const std::string& data,
                              const std::string& keys) {
  const fs::path at = Plain(index);
  const fs::path archive = Plain(data);
  bool bad = LiesIn(archive, at);
  for (const absl::string_view part : kParts) {
    bad = bad || LiesIn(at, archive / std::string(part));
  }
  if (!keys.empty()) {
    const fs::path key_folder = Plain(keys);
    bad = bad || LiesIn(at, key_folder) || LiesIn(key_folder, at);
  }
  if (!bad) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the index needs a folder of its own, and ", index,
                   " has other parts of the archive or its keys"));
}

}  // namespace diptych::indexer
