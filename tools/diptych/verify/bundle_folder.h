#ifndef TOOLS_DIPTYCH_VERIFY_BUNDLE_FOLDER_H_
#define TOOLS_DIPTYCH_VERIFY_BUNDLE_FOLDER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"

namespace diptych::verify {

// A folder that somebody sent. Nothing outside of it is ever opened: links,
// devices and paths that lead elsewhere are refused, and so are names that a
// bundle can't have. Errors of its content are DATA_LOSS and name the file.
// Not thread-safe.
class BundleFolder {
 public:
  // NOT_FOUND if there is no such folder.
  static absl::StatusOr<std::unique_ptr<BundleFolder>> Open(
      const std::string& path);
  ~BundleFolder();
  BundleFolder(const BundleFolder&) = delete;
  BundleFolder& operator=(const BundleFolder&) = delete;

  // Sizes of all files by their paths from the folder; at most
  // limits::kMaxBundleFiles.
  absl::StatusOr<std::map<std::string, uint64_t>> List() const;

  absl::StatusOr<std::unique_ptr<base::ReadFile>> OpenFile(
      const std::string& path) const;
  absl::StatusOr<std::string> ReadFile(const std::string& path,
                                       size_t max_bytes) const;
  bool Has(const std::string& path) const;

  // SHA-256 in hexadecimal, read in pieces. `progress` gets the bytes of each
  // and may end it with an error.
  absl::StatusOr<std::string> HashFile(
      const std::string& path,
      const std::function<absl::Status(uint64_t)>& progress) const;

 private:
  explicit BundleFolder(int fd) : fd_(fd) {}

  const int fd_;
};

// True for paths that a bundle may have: letters, digits, "-", "_", "." and
// "/", no part empty, "." or "..".
bool IsBundlePath(absl::string_view path);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_BUNDLE_FOLDER_H_
