#include "tools/diptych/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"

namespace diptych::cli {
namespace {

// Full disks and quotas are worth another try after cleaning up; what is not
// allowed is not.
absl::Status FileError(int error, absl::string_view what,
                       absl::string_view path) {
  const std::string message =
      absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(error));
  switch (error) {
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOENT:
      return absl::NotFoundError(message);
    default:
      return absl::FailedPreconditionError(message);
  }
}

std::string DirectoryOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

absl::Status WriteAllAt(int fd, uint64_t offset, absl::string_view data,
                        const std::string& path) {
  while (!data.empty()) {
    const ssize_t written =
        pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return FileError(written < 0 ? errno : EIO, "write", path);
    }
    data.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status SyncAndClose(int fd, const std::string& path) {
  const int sync_error = fsync(fd) == 0 ? 0 : errno;
  const int close_error = close(fd) == 0 ? 0 : errno;
  if (sync_error != 0) return FileError(sync_error, "sync", path);
  if (close_error != 0) return FileError(close_error, "close", path);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteNewFile(const std::string& path, absl::string_view content,
                          mode_t mode) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return FileError(errno, "create", path);
  absl::Status written = WriteAllAt(fd, 0, content, path);
  // The process's umask may have taken bits away.
  if (written.ok() && fchmod(fd, mode) != 0) {
    written = FileError(errno, "set the mode of", path);
  }
  const absl::Status closed = SyncAndClose(fd, path);
  return written.ok() ? closed : written;
}

absl::Status MakeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0) {
    return FileError(errno, "make the folder", path);
  }
  if (chmod(path.c_str(), mode) != 0) {
    return FileError(errno, "set the mode of", path);
  }
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "open the folder", path);
  return SyncAndClose(fd, path);
}

absl::StatusOr<PendingFile> PendingFile::Create(const std::string& path,
                                                bool replace) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) {
      return absl::AlreadyExistsError(
          absl::StrCat(path, " is a folder: name a file"));
    }
    if (!replace) {
      return absl::AlreadyExistsError(absl::StrCat(
          path, " exists already: choose another name or add --force"));
    }
  }
  std::string temporary = absl::StrCat(path, ".partial-XXXXXX");
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return FileError(errno, "create a file beside", path);
  return PendingFile(path, std::move(temporary), fd, replace);
}

PendingFile::PendingFile(std::string path, std::string temporary, int fd,
                         bool replace)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      fd_(fd),
      replace_(replace) {}

PendingFile::PendingFile(PendingFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, std::string())),
      fd_(std::exchange(other.fd_, -1)),
      replace_(other.replace_),
      size_(other.size_) {}

PendingFile::~PendingFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::Status PendingFile::WriteAt(uint64_t offset, absl::string_view data) {
  if (offset > uint64_t{INT64_MAX} - data.size()) {
    return absl::OutOfRangeError(
        absl::StrCat("the archive sent an impossible offset for ", path_));
  }
  RETURN_IF_ERROR(WriteAllAt(fd_, offset, data, temporary_));
  size_ = std::max(size_, offset + data.size());
  return absl::OkStatus();
}

absl::Status PendingFile::Commit() {
  RETURN_IF_ERROR(SyncAndClose(std::exchange(fd_, -1), temporary_));
  const int renamed = replace_
                          ? rename(temporary_.c_str(), path_.c_str())
                          : renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD,
                                      path_.c_str(), RENAME_NOREPLACE);
  if (renamed != 0) return FileError(errno, "name the finished file", path_);
  temporary_.clear();
  return SyncDirectory(DirectoryOf(path_));
}

}  // namespace diptych::cli
