#include "archiver/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <climits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/status_macros.h"

namespace diptych::base {
namespace {

// "cannot write /x/y: No space left on device", with the code errno stands for;
// RESOURCE_EXHAUSTED only for a disk that is full.
absl::Status SystemError(absl::string_view what, absl::string_view path) {
  const int error = errno;
  const absl::Status status =
      absl::ErrnoToStatus(error, absl::StrCat("cannot ", what, " ", path));
  if (error == ENOSPC || error == EDQUOT ||
      !absl::IsResourceExhausted(status)) {
    return status;
  }
  // Too many open files, no memory: nothing that waiting for space mends.
  return absl::UnavailableError(status.message());
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

class RealAppendFile final : public AppendFile {
 public:
  RealAppendFile(std::string path, int fd, uint64_t size)
      : path_(std::move(path)), fd_(fd), size_(size) {}

  absl::StatusOr<uint64_t> Reserve(uint64_t end_bytes) override {
    if (end_bytes <= size_) return size_;
    int result = 0;
    do {
      result =
          fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(size_),
                    static_cast<off_t>(end_bytes - size_));
    } while (result != 0 && errno == EINTR);
    if (result == 0) return end_bytes;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return size_;
    return SystemError("reserve space for", path_);
  }

  absl::Status ReleaseReserved() override { return SetSize(size_); }

  absl::Status CutTo(uint64_t size_bytes) override {
    RETURN_IF_ERROR(SetSize(size_bytes));
    size_ = size_bytes;
    if (fsync(fd_.get()) != 0) return SystemError("sync", path_);
    return absl::OkStatus();
  }

  absl::Status Append(absl::Span<const absl::string_view> pieces) override {
    std::vector<iovec> left;
    left.reserve(pieces.size());
    for (absl::string_view piece : pieces) {
      if (piece.empty()) continue;
      left.push_back({const_cast<char*>(piece.data()), piece.size()});
    }
    size_t first = 0;
    while (first < left.size()) {
      const int count =
          static_cast<int>(std::min<size_t>(left.size() - first, IOV_MAX));
      const ssize_t wrote = writev(fd_.get(), &left[first], count);
      if (wrote < 0) {
        if (errno == EINTR) continue;
        return SystemError("write", path_);
      }
      size_ += static_cast<uint64_t>(wrote);
      size_t rest = static_cast<size_t>(wrote);
      while (rest > 0 && rest >= left[first].iov_len) {
        rest -= left[first++].iov_len;
      }
      if (rest > 0) {
        left[first].iov_base = static_cast<char*>(left[first].iov_base) + rest;
        left[first].iov_len -= rest;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (fdatasync(fd_.get()) != 0) return SystemError("sync", path_);
    return absl::OkStatus();
  }

  uint64_t size() const override { return size_; }

 private:
  // Also drops blocks behind that size.
  absl::Status SetSize(uint64_t size_bytes) {
    if (ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0) {
      return SystemError("truncate", path_);
    }
    return absl::OkStatus();
  }

  const std::string path_;
  Fd fd_;
  uint64_t size_;
};

class RealReadFile final : public ReadFile {
 public:
  RealReadFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  absl::Status Read(uint64_t offset, size_t size, std::string* out) override {
    out->resize(size);
    size_t done = 0;
    while (done < size) {
      const ssize_t got = pread(fd_.get(), out->data() + done, size - done,
                                static_cast<off_t>(offset + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        return SystemError("read", path_);
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    out->resize(done);
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    struct stat info;
    if (fstat(fd_.get(), &info) != 0) return SystemError("stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

 private:
  const std::string path_;
  Fd fd_;
};

class RealFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(
      const std::string& path) override {
    Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    if (!fd.ok()) return SystemError("open for writing", path);
    struct stat info;
    if (fstat(fd.get(), &info) != 0) return SystemError("stat", path);
    return std::make_unique<RealAppendFile>(
        path, fd.Release(), static_cast<uint64_t>(info.st_size));
  }

  absl::StatusOr<std::unique_ptr<ReadFile>> OpenForRead(
      const std::string& path) override {
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.ok()) return SystemError("open", path);
    return std::make_unique<RealReadFile>(path, fd.Release());
  }

  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) override {
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return SystemError("list", directory);
    std::vector<std::string> names;
    while (const dirent* entry = readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status CreateDirectory(const std::string& path) override {
    for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
      const std::string prefix = path.substr(0, slash);
      if (mkdir(prefix.c_str(), 0750) != 0 && errno != EEXIST) {
        return SystemError("create folder", prefix);
      }
      if (slash == std::string::npos) return absl::OkStatus();
    }
  }

  absl::Status SyncDirectory(const std::string& path) override {
    Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.ok()) return SystemError("open folder", path);
    if (fsync(fd.get()) != 0) return SystemError("sync folder", path);
    return absl::OkStatus();
  }

  absl::Status Truncate(const std::string& path, uint64_t size) override {
    Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.ok()) return SystemError("open for writing", path);
    if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
      return SystemError("truncate", path);
    }
    if (fsync(fd.get()) != 0) return SystemError("sync", path);
    return absl::OkStatus();
  }

  absl::Status WriteFile(const std::string& path,
                         absl::string_view content) override {
    {
      Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
      if (!fd.ok()) return SystemError("create", path);
      RealAppendFile file(path, fd.Release(), 0);
      RETURN_IF_ERROR(file.Append({content}));
      RETURN_IF_ERROR(file.Sync());
    }
    const size_t slash = path.rfind('/');
    return SyncDirectory(slash == std::string::npos ? "."
                                                    : path.substr(0, slash));
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return SystemError("name", to);
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (remove(path.c_str()) != 0) return SystemError("remove", path);
    return absl::OkStatus();
  }

  absl::StatusOr<DiskSpace> Space(const std::string& path) override {
    struct statvfs info;
    if (statvfs(path.c_str(), &info) != 0) return SystemError("stat", path);
    return DiskSpace{.free_bytes = uint64_t{info.f_bavail} * info.f_frsize,
                     .total_bytes = uint64_t{info.f_blocks} * info.f_frsize};
  }
};

}  // namespace

FileSystem* FileSystem::Real() {
  static RealFileSystem file_system;
  return &file_system;
}

absl::Status ReplaceFile(FileSystem* file_system, const std::string& path,
                         absl::string_view content) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  const absl::Status removed = file_system->Remove(temporary);
  if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<AppendFile> file,
                     file_system->OpenForAppend(temporary));
    RETURN_IF_ERROR(file->Append({content}));
    RETURN_IF_ERROR(file->Sync());
  }
  return file_system->Rename(temporary, path);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path,
                                          size_t max_bytes) {
  ASSIGN_OR_RETURN(std::unique_ptr<ReadFile> file,
                   FileSystem::Real()->OpenForRead(path));
  std::string content;
  RETURN_IF_ERROR(file->Read(0, max_bytes + 1, &content));
  if (content.size() > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, " is larger than ", max_bytes, " bytes"));
  }
  return content;
}

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(
    const std::string& path) {
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (!fd.ok()) return SystemError("open", path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, " is locked: another program is using this archive"));
    }
    return SystemError("lock", path);
  }
  return std::unique_ptr<FileLock>(new FileLock(fd.Release()));
}

FileLock::~FileLock() { close(fd_); }

}  // namespace diptych::base
