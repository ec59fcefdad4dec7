#ifndef ARCHIVER_BASE_FILE_H_
#define ARCHIVER_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace diptych::base {

// A file that only grows. Not thread-safe. Errors name the path;
// RESOURCE_EXHAUSTED means that the disk (or a quota on it) is full, and
// nothing else does.
class AppendFile {
 public:
  virtual ~AppendFile() = default;

  // Takes blocks of the disk for everything before `end_bytes`, so that writing
  // there can't find the disk full. The size stays as it is. Returns up to
  // where blocks are taken now: size() on a file system that can't do it.
  virtual absl::StatusOr<uint64_t> Reserve(uint64_t end_bytes) = 0;

  // Gives blocks behind the end back.
  virtual absl::Status ReleaseReserved() = 0;

  // Writes all pieces after the end. After an error the file's end is unknown
  // and nothing more may be appended until CutTo has succeeded.
  virtual absl::Status Append(absl::Span<const absl::string_view> pieces) = 0;

  // Takes back what was appended behind `size_bytes`, durably.
  virtual absl::Status CutTo(uint64_t size_bytes) = 0;

  // fdatasync. An error is final: what was written since the last success may
  // be lost even if a later call succeeds.
  virtual absl::Status Sync() = 0;

  virtual uint64_t size() const = 0;
};

// Thread-safe.
class ReadFile {
 public:
  virtual ~ReadFile() = default;

  // Fills `out` with up to `size` bytes from `offset`; fewer only at the end.
  virtual absl::Status Read(uint64_t offset, size_t size, std::string* out) = 0;

  virtual absl::StatusOr<uint64_t> Size() = 0;
};

// Of a file system, for those who may write it without privileges.
struct DiskSpace {
  uint64_t free_bytes = 0;
  uint64_t total_bytes = 0;
};

// What the log and the key store need of an operating system, so that a test
// can put a faulty one in its place. Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Opens for appending; creates with mode 0640 if it is not there.
  virtual absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(
      const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<ReadFile>> OpenForRead(
      const std::string& path) = 0;
  // Names in `directory`, sorted, without "." and "..".
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) = 0;
  // Also the parents, mode 0750; fine if it is there.
  virtual absl::Status CreateDirectory(const std::string& path) = 0;
  // Makes creations and removals in `path` durable.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // Cuts to `size` and syncs.
  virtual absl::Status Truncate(const std::string& path, uint64_t size) = 0;
  // Writes a new file whole, syncs it and its directory.
  virtual absl::Status WriteFile(const std::string& path,
                                 absl::string_view content) = 0;
  // Gives a file another name in one step; a file that has that name is gone.
  // Durable once the folder of each name is synced.
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  // Removes a file or an empty folder; NOT_FOUND if there is none. Durable once
  // its folder is synced.
  virtual absl::Status Remove(const std::string& path) = 0;
  // Of the file system that holds `path`.
  virtual absl::StatusOr<DiskSpace> Space(const std::string& path) = 0;

  // The machine's. Lives forever.
  static FileSystem* Real();
};

// Puts `content` in the place of the file `path`, or makes it: whoever reads
// sees the old one or the new one whole, also after a power loss. The bytes are
// synced; the name is durable once the folder is. A leftover of an attempt that
// was cut short is `path` with ".tmp" behind it.
absl::Status ReplaceFile(FileSystem* file_system, const std::string& path,
                         absl::string_view content);

// Reads a file whole; RESOURCE_EXHAUSTED if it is over `max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path,
                                          size_t max_bytes);

// An exclusive lock on a file, held until destruction, so that no two programs
// write one archive. FAILED_PRECONDITION if somebody has it.
class FileLock {
 public:
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(
      const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_FILE_H_
