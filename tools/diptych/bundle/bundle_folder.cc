#include "tools/diptych/bundle/bundle_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <system_error>
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
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "tools/diptych/new_file.h"
#include "tools/diptych/verify/bag.h"

namespace diptych::cli {
namespace {

constexpr size_t kHashBuffer_bytes = 1 << 20;
constexpr char kDeclaration[] = "bagit.txt";
constexpr char kInfo[] = "bag-info.txt";
constexpr char kManifest[] = "manifest-sha256.txt";
constexpr char kTagManifest[] = "tagmanifest-sha256.txt";

absl::Status FileError(absl::string_view what, absl::string_view path) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

// What a server says must not lead out of the folder.
bool IsGoodPath(absl::string_view path) {
  if (path.empty() || path.size() > limits::kMaxBundlePath_bytes) return false;
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part.front() == '.') return false;
    for (const char c : part) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' &&
          c != '_' && c != '.') {
        return false;
      }
    }
  }
  return true;
}

absl::StatusOr<std::string> HashFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return FileError("open", path);
  base::Sha256Hasher hash;
  std::string buffer(kHashBuffer_bytes, '\0');
  absl::Status status;
  while (true) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = FileError("read", path);
    if (got <= 0) break;
    hash.Add(absl::string_view(buffer).substr(0, static_cast<size_t>(got)));
  }
  close(fd);
  RETURN_IF_ERROR(status);
  return absl::BytesToHexString(hash.Finish());
}

// Syncs every folder below `path`, and it.
absl::Status SyncFolders(const std::string& path) {
  std::error_code error;
  std::vector<std::string> folders = {path};
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(path, error)) {
    if (entry.is_directory(error)) folders.push_back(entry.path().string());
  }
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read the folder ", path, ": ", error.message()));
  }
  for (const std::string& folder : folders) {
    RETURN_IF_ERROR(SyncDirectory(folder));
  }
  return absl::OkStatus();
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

absl::StatusOr<BundleFolder> BundleFolder::Create(std::string path,
                                                  bool replace) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  struct stat info = {};
  if (lstat(path.c_str(), &info) == 0) {
    if (!replace) {
      return absl::AlreadyExistsError(absl::StrCat(
          path, " exists already: choose another name or add --force"));
    }
    if (!S_ISDIR(info.st_mode) ||
        !std::filesystem::exists(absl::StrCat(path, "/", kDeclaration))) {
      return absl::AlreadyExistsError(absl::StrCat(
          path, " is no bundle, and is not replaced: choose another name"));
    }
  } else {
    replace = false;
  }
  std::string temporary = absl::StrCat(path, ".partial-XXXXXX");
  if (mkdtemp(temporary.data()) == nullptr) {
    return FileError("make a folder beside", path);
  }
  BundleFolder folder(std::move(path), std::move(temporary), replace);
  RETURN_IF_ERROR(
      MakeDirectory(absl::StrCat(folder.temporary_, "/data"), 0700));
  return folder;
}

BundleFolder::BundleFolder(std::string path, std::string temporary,
                           bool replace)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      replace_(replace) {}

BundleFolder::BundleFolder(BundleFolder&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, std::string())),
      replace_(other.replace_),
      sizes_(std::move(other.sizes_)),
      payload_bytes_(other.payload_bytes_),
      current_(std::move(other.current_)),
      fd_(std::exchange(other.fd_, -1)) {}

BundleFolder::~BundleFolder() {
  if (fd_ >= 0) close(fd_);
  if (temporary_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(temporary_, ignored);
}

absl::Status BundleFolder::CloseCurrent() {
  if (fd_ < 0) return absl::OkStatus();
  const int fd = std::exchange(fd_, -1);
  const bool synced = fsync(fd) == 0;
  const bool closed = close(fd) == 0;
  if (synced && closed) return absl::OkStatus();
  return FileError("sync", absl::StrCat(temporary_, "/data/", current_));
}

absl::Status BundleFolder::Open(const std::string& path) {
  if (fd_ >= 0 && path == current_) return absl::OkStatus();
  RETURN_IF_ERROR(CloseCurrent());
  const std::string full = absl::StrCat(temporary_, "/data/", path);
  if (!sizes_.contains(path)) {
    if (!IsGoodPath(path) || sizes_.size() >= limits::kMaxBundleFiles) {
      return base::IntegrityError(
          "the archive sent a file whose name no bundle may have");
    }
    std::error_code error;
    std::filesystem::create_directories(ParentOf(full), error);
    if (error) {
      return absl::FailedPreconditionError(absl::StrCat(
          "cannot make the folder of ", full, ": ", error.message()));
    }
    sizes_[path] = 0;
  }
  fd_ = open(full.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) return FileError("create", full);
  current_ = path;
  return absl::OkStatus();
}

absl::Status BundleFolder::WriteData(absl::string_view path, uint64_t offset,
                                     absl::string_view bytes) {
  const std::string name(path);
  RETURN_IF_ERROR(Open(name));
  if (offset > uint64_t{INT64_MAX} - bytes.size()) {
    return base::IntegrityError(
        absl::StrCat("the archive sent an impossible offset for ", name));
  }
  uint64_t& size = sizes_[name];
  size = std::max(size, offset + bytes.size());
  while (!bytes.empty()) {
    const ssize_t written =
        pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return FileError("write", absl::StrCat(temporary_, "/data/", name));
    }
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status BundleFolder::MakeBag(const std::string& archive,
                                   const std::string& session,
                                   int64_t access_time_us) {
  RETURN_IF_ERROR(CloseCurrent());
  verify::FileHashes payload;
  payload_bytes_ = 0;
  for (const auto& [path, size] : sizes_) {
    const std::string in_bag = absl::StrCat("data/", path);
    ASSIGN_OR_RETURN(payload[in_bag],
                     HashFile(absl::StrCat(temporary_, "/", in_bag)));
    payload_bytes_ += size;
  }
  verify::BagInfo info;
  info.archive = archive;
  info.session = session;
  info.access_time_us = access_time_us;
  info.payload_bytes = payload_bytes_;
  info.payload_files = payload.size();
  const std::map<std::string, std::string> tags = {
      {kDeclaration, verify::BagDeclaration()},
      {kInfo, verify::BagInfoText(info)},
      {kManifest, verify::ManifestText(payload)}};
  verify::FileHashes tag_hashes;
  for (const auto& [name, text] : tags) {
    tag_hashes[name] = base::Sha256Hex(text);
    RETURN_IF_ERROR(
        WriteNewFile(absl::StrCat(temporary_, "/", name), text, 0600));
  }
  return WriteNewFile(absl::StrCat(temporary_, "/", kTagManifest),
                      verify::ManifestText(tag_hashes), 0600);
}

absl::Status BundleFolder::Commit() {
  RETURN_IF_ERROR(CloseCurrent());
  RETURN_IF_ERROR(SyncFolders(temporary_));
  if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(),
                replace_ ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0) {
    return FileError("name the finished bundle", path_);
  }
  if (replace_) {
    // Now it is the one that was there before.
    std::error_code ignored;
    std::filesystem::remove_all(temporary_, ignored);
  }
  temporary_.clear();
  return SyncDirectory(ParentOf(path_));
}

}  // namespace diptych::cli
