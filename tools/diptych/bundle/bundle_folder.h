#ifndef TOOLS_DIPTYCH_BUNDLE_BUNDLE_FOLDER_H_
#define TOOLS_DIPTYCH_BUNDLE_BUNDLE_FOLDER_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::cli {

// A bundle that appears under its name whole or not at all: written beside it
// in a temporary folder, which goes when this object goes without Commit.
// Folders have mode 0700 and files 0600: what comes out of an archive is for
// who asked. Errors name the path. Not thread-safe.
class BundleFolder {
 public:
  // ALREADY_EXISTS if something is at `path`, unless `replace`, which replaces
  // bundles alone.
  static absl::StatusOr<BundleFolder> Create(std::string path, bool replace);

  BundleFolder(BundleFolder&& other) noexcept;
  BundleFolder& operator=(BundleFolder&&) = delete;
  ~BundleFolder();

  // Where it lies until Commit.
  const std::string& temporary() const { return temporary_; }

  // Bytes of the file data/PATH. DATA_LOSS if that is no name for a file of a
  // bundle, or there are more than limits::kMaxBundleFiles.
  absl::Status WriteData(absl::string_view path, uint64_t offset,
                         absl::string_view bytes);

  // Ends the file at hand, so that others can read all that was written.
  absl::Status CloseData() { return CloseCurrent(); }

  // Adds the files that make it a bag (RFC 8493) around all that lies in data/.
  // Ids as text.
  absl::Status MakeBag(const std::string& archive, const std::string& session,
                       int64_t access_time_us);

  // Of all files in data/; after MakeBag.
  uint64_t payload_bytes() const { return payload_bytes_; }
  uint64_t payload_files() const { return sizes_.size(); }

  // Syncs everything, renames to the final name, syncs the folder around it.
  // Call once, last.
  absl::Status Commit();

 private:
  BundleFolder(std::string path, std::string temporary, bool replace);

  // Makes the folders of a path below data/ and opens the file, if it is not
  // the one that is open.
  absl::Status Open(const std::string& path);
  absl::Status CloseCurrent();

  std::string path_;
  std::string temporary_;
  bool replace_;
  // Of the files in data/, by their paths below it.
  std::map<std::string, uint64_t> sizes_;
  uint64_t payload_bytes_ = 0;
  // The file at hand.
  std::string current_;
  int fd_ = -1;
};

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_BUNDLE_BUNDLE_FOLDER_H_
