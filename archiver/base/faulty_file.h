#ifndef ARCHIVER_BASE_FAULTY_FILE_H_
#define ARCHIVER_BASE_FAULTY_FILE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/mutex.h"

namespace diptych::base {

// A file system in memory that fails as a real one does, for tests. It knows
// what a disk has and what only the page cache has: bytes are durable after a
// sync of their file, names after a sync of their folder. Every operation that
// changes something has a number, from 1, so that a test can have a fault at
// each one in turn. Thread-safe.
class FaultyFileSystem final : public FileSystem {
 public:
  // What a power cut leaves of what was not synced.
  enum class Loss {
    kAll,      // Nothing of it.
    kNone,     // All of it: the cache was written just in time.
    kTail,     // Its beginning.
    kSectors,  // Some sectors of 512 bytes, of later ones too, and not others.
  };

  enum class Fault {
    kNoSpace,       // ENOSPC, nothing done.
    kShortNoSpace,  // ENOSPC after a part of a write.
    kIoError,       // EIO, nothing done.
    kShortIoError,  // EIO after a part of a write.
  };

  enum class Operation {
    kCreate,
    kMakeDirectory,
    kReserve,
    kWrite,
    kTruncate,
    kRename,
    kRemove,
    kSync,
    kSyncDirectory,
  };

  // `root` is there and durable.
  explicit FaultyFileSystem(std::string root);
  ~FaultyFileSystem() override;

  // ---- Faults ----

  // Operation `number` happens in the cache and not on the disk; it and all
  // that come after it fail.
  void CutPowerAt(uint64_t number) ABSL_LOCKS_EXCLUDED(mutex_);
  bool power_is_off() const ABSL_LOCKS_EXCLUDED(mutex_);
  // What the machine finds when it is on again: a file system of its own, with
  // no faults. The same seed gives the same.
  std::unique_ptr<FaultyFileSystem> Reboot(Loss loss, uint64_t seed) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Operation `number` fails, once.
  void FailAt(uint64_t number, Fault fault) ABSL_LOCKS_EXCLUDED(mutex_);
  // None that was asked for and is still to come does.
  void ClearFaults() ABSL_LOCKS_EXCLUDED(mutex_);

  // What may still be written; nothing is counted before it is first set.
  void SetFreeBytes(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // False: Reserve does nothing, so that a full disk is met by a write.
  void SetCanReserve(bool can) ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on syncs of files hang, until they are let go.
  void HoldSyncs() ABSL_LOCKS_EXCLUDED(mutex_);
  void LetSyncsGo() ABSL_LOCKS_EXCLUDED(mutex_);
  // False if none hangs within `timeout`.
  bool WaitForHeldSync(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  // Every sync takes so long.
  void SetSyncDelay(absl::Duration delay) ABSL_LOCKS_EXCLUDED(mutex_);

  // The disk itself changes what it has stored. REQUIRES: the byte is there.
  void FlipBit(const std::string& path, uint64_t offset, int bit)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Only what is read is wrong, from now on; nullopt ends it.
  void FlipBitOnRead(std::optional<uint64_t> offset)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- What has happened ----

  uint64_t operations() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Kinds, in order: operation 1 first.
  std::vector<Operation> history() const ABSL_LOCKS_EXCLUDED(mutex_);
  // As the page cache has it; nullopt if there is no such file.
  std::optional<std::string> Content(const std::string& path) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Blocks of a file, those behind its end included.
  uint64_t TakenBytes(const std::string& path) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- FileSystem ----

  absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(
      const std::string& path) override ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::unique_ptr<ReadFile>> OpenForRead(
      const std::string& path) override ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) override ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CreateDirectory(const std::string& path) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status SyncDirectory(const std::string& path) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Truncate(const std::string& path, uint64_t size) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status WriteFile(const std::string& path,
                         absl::string_view content) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Rename(const std::string& from, const std::string& to) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Remove(const std::string& path) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<DiskSpace> Space(const std::string& path) override
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class FaultyAppendFile;
  friend class FaultyReadFile;

  struct File {
    std::string cache;
    std::string disk;
    // Cache and disk are alike before this.
    size_t alike_bytes = 0;
    // Blocks taken ahead.
    uint64_t reserved_bytes = 0;
  };
  // A file, or a folder (without `file`).
  struct Node {
    std::shared_ptr<File> file;
    bool name_is_durable = false;
  };

  // Counts an operation; what it fails with, if it does. `short_write` is set
  // if a part of it is to happen first.
  absl::Status Count(Operation operation, const std::string& path,
                     bool* short_write = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckPower() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<File>> FindFile(const std::string& path) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<File>> FindOrCreate(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write(const std::string& path, File* file,
                     absl::string_view bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The name is another file's, or nobody's, until its folder is synced.
  void ForgetName(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SetSize(const std::string& path, File* file, uint64_t size)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Sync(const std::string& path, File* file)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SyncDirectoryLocked(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes `bytes` of the free space; false if there are not as many.
  bool TakeSpace(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveSpace(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string root_;
  mutable Mutex mutex_;
  CondVar syncs_changed_;
  std::map<std::string, Node> nodes_ ABSL_GUARDED_BY(mutex_);
  // What the disk still has under names that were given away since their folder
  // was synced.
  std::map<std::string, Node> replaced_ ABSL_GUARDED_BY(mutex_);
  std::vector<Operation> history_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Fault> faults_ ABSL_GUARDED_BY(mutex_);
  uint64_t cut_at_ ABSL_GUARDED_BY(mutex_) = UINT64_MAX;
  bool off_ ABSL_GUARDED_BY(mutex_) = false;
  // The operation that was counted last is the one that was cut.
  bool cut_now_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<uint64_t> free_bytes_ ABSL_GUARDED_BY(mutex_);
  bool can_reserve_ ABSL_GUARDED_BY(mutex_) = true;
  bool hold_syncs_ ABSL_GUARDED_BY(mutex_) = false;
  int held_syncs_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration sync_delay_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint64_t> flip_on_read_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_FAULTY_FILE_H_
