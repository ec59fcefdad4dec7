#ifndef TOOLS_DIPTYCH_NEW_FILE_H_
#define TOOLS_DIPTYCH_NEW_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::cli {

// Writes a file that must not exist yet, with exactly `mode`, and syncs it. The
// caller syncs its directory. Errors name the path.
absl::Status WriteNewFile(const std::string& path, absl::string_view content,
                          mode_t mode);

// Makes a directory with exactly `mode`. ALREADY_EXISTS if something is there.
absl::Status MakeDirectory(const std::string& path, mode_t mode);

absl::Status SyncDirectory(const std::string& path);

// A file that appears under its name whole or not at all: written beside it
// under a temporary one, which goes when this object goes without Commit. Not
// thread-safe.
class PendingFile {
 public:
  // ALREADY_EXISTS if `path` is there, unless `replace`. A directory is never
  // replaced. Mode 0600: what comes out of an archive is for who asked.
  static absl::StatusOr<PendingFile> Create(const std::string& path,
                                            bool replace);

  PendingFile(PendingFile&& other) noexcept;
  PendingFile& operator=(PendingFile&&) = delete;
  ~PendingFile();

  absl::Status WriteAt(uint64_t offset, absl::string_view data);

  // One past the largest byte that was written.
  uint64_t size() const { return size_; }

  // Syncs, renames to the final name, syncs the directory. Without `replace`
  // still refuses a file that has appeared there meanwhile. Call once.
  absl::Status Commit();

  const std::string& path() const { return path_; }

 private:
  PendingFile(std::string path, std::string temporary, int fd, bool replace);

  std::string path_;
  std::string temporary_;
  int fd_;
  bool replace_;
  uint64_t size_ = 0;
};

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_NEW_FILE_H_
