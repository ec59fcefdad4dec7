#include "tools/diptych/verify/bundle_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"

namespace diptych::verify {
namespace {

// Deeper folders are none of ours.
constexpr size_t kMaxDepth = 8;

absl::Status DiskError(absl::string_view path, int error) {
  return absl::InternalError(
      absl::StrCat(path, " can't be read: ", std::strerror(error)));
}

// A descriptor that is closed.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

class OpenedFile final : public base::ReadFile {
 public:
  OpenedFile(Descriptor fd, std::string path)
      : fd_(std::move(fd)), path_(std::move(path)) {}

  absl::Status Read(uint64_t offset, size_t size, std::string* out) override {
    out->resize(size);
    size_t done = 0;
    while (done < size) {
      const ssize_t got = pread(fd_.get(), out->data() + done, size - done,
                                static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return DiskError(path_, errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    out->resize(done);
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    struct stat info;
    if (fstat(fd_.get(), &info) != 0) return DiskError(path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

 private:
  const Descriptor fd_;
  const std::string path_;
};

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

// Opens what a path names below `root`, no part of which may be a link.
absl::StatusOr<Descriptor> OpenBelow(int root, const std::string& path) {
  if (!IsBundlePath(path)) {
    return base::IntegrityError(absl::StrCat(
        "\"", absl::CEscape(path.substr(0, 100)), "\" is no path of a bundle"));
  }
  const std::vector<std::string> parts = absl::StrSplit(path, '/');
  Descriptor at(dup(root));
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    // A pipe must not hold anybody up.
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
                      (last ? 0 : O_DIRECTORY);
    const int fd = openat(at.get(), parts[i].c_str(), flags);
    if (fd < 0) {
      if (errno == ENOENT || errno == ENOTDIR) {
        return base::IntegrityError(absl::StrCat(path, ": is missing"));
      }
      if (errno == ELOOP) {
        return base::IntegrityError(absl::StrCat(path, ": is a link"));
      }
      return DiskError(path, errno);
    }
    at.Reset(fd);
  }
  return at;
}

}  // namespace

bool IsBundlePath(absl::string_view path) {
  if (path.empty() || path.size() > limits::kMaxBundlePath_bytes) return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
    for (const char c : part) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' &&
          c != '_' && c != '.') {
        return false;
      }
    }
  }
  return true;
}

absl::StatusOr<std::unique_ptr<BundleFolder>> BundleFolder::Open(
    const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return absl::NotFoundError(absl::StrCat(path, " is no folder"));
    }
    return DiskError(path, errno);
  }
  return std::unique_ptr<BundleFolder>(new BundleFolder(fd));
}

BundleFolder::~BundleFolder() { close(fd_); }

absl::StatusOr<std::map<std::string, uint64_t>> BundleFolder::List() const {
  std::map<std::string, uint64_t> files;
  std::vector<std::string> folders = {""};
  size_t seen = 0;
  while (!folders.empty()) {
    const std::string folder = std::move(folders.back());
    folders.pop_back();
    int fd = -1;
    if (folder.empty()) {
      fd = openat(fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0) return DiskError("the bundle", errno);
    } else {
      ASSIGN_OR_RETURN(Descriptor opened, OpenBelow(fd_, folder));
      fd = opened.Release();
    }
    const std::unique_ptr<DIR, CloseFolder> entries(fdopendir(fd));
    if (entries == nullptr) {
      const int error = errno;
      close(fd);
      return DiskError(folder, error);
    }
    while (true) {
      errno = 0;
      const dirent* entry = readdir(entries.get());
      if (entry == nullptr) {
        if (errno != 0) return DiskError(folder, errno);
        break;
      }
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++seen > limits::kMaxBundleFiles) {
        return base::IntegrityError(absl::StrCat(
            "the bundle has more than ", limits::kMaxBundleFiles, " files"));
      }
      const std::string path =
          folder.empty() ? name : absl::StrCat(folder, "/", name);
      if (!IsBundlePath(path)) {
        return base::IntegrityError(
            absl::StrCat("\"", absl::CEscape(path.substr(0, 100)),
                         "\": no file of a bundle has such a name"));
      }
      struct stat info;
      if (fstatat(dirfd(entries.get()), name.c_str(), &info,
                  AT_SYMLINK_NOFOLLOW) != 0) {
        return DiskError(path, errno);
      }
      if (S_ISDIR(info.st_mode)) {
        if (static_cast<size_t>(std::count(path.begin(), path.end(), '/')) >=
            kMaxDepth) {
          return base::IntegrityError(
              absl::StrCat(path, ": lies too deep for a bundle"));
        }
        folders.push_back(path);
      } else if (S_ISREG(info.st_mode)) {
        files.emplace(path, static_cast<uint64_t>(info.st_size));
      } else {
        return base::IntegrityError(
            absl::StrCat(path, ": is neither a file nor a folder"));
      }
    }
  }
  return files;
}

absl::StatusOr<std::unique_ptr<base::ReadFile>> BundleFolder::OpenFile(
    const std::string& path) const {
  ASSIGN_OR_RETURN(Descriptor fd, OpenBelow(fd_, path));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return DiskError(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return base::IntegrityError(absl::StrCat(path, ": is not a file"));
  }
  return std::make_unique<OpenedFile>(std::move(fd), path);
}

absl::StatusOr<std::string> BundleFolder::ReadFile(const std::string& path,
                                                   size_t max_bytes) const {
  ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> file, OpenFile(path));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > max_bytes) {
    return base::IntegrityError(
        absl::StrCat(path, ": is larger than ", max_bytes, " bytes"));
  }
  std::string content;
  RETURN_IF_ERROR(file->Read(0, static_cast<size_t>(size), &content));
  return content;
}

bool BundleFolder::Has(const std::string& path) const {
  return OpenBelow(fd_, path).ok();
}

absl::StatusOr<std::string> BundleFolder::HashFile(
    const std::string& path,
    const std::function<absl::Status(uint64_t)>& progress) const {
  ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> file, OpenFile(path));
  base::Sha256Hasher hasher;
  std::string piece;
  uint64_t offset = 0;
  do {
    RETURN_IF_ERROR(file->Read(offset, limits::kVerifyRead_bytes, &piece));
    hasher.Add(piece);
    offset += piece.size();
    if (progress) RETURN_IF_ERROR(progress(piece.size()));
  } while (piece.size() == limits::kVerifyRead_bytes);
  return absl::BytesToHexString(hasher.Finish());
}

}  // namespace diptych::verify
