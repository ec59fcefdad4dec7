#ifndef TOOLS_GATEWAY_SPOOL_H_
#define TOOLS_GATEWAY_SPOOL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/spool_cipher.h"
#include "tools/gateway/spool_item.h"

namespace diptych::gateway {

struct SpoolOptions {
  // Made, with mode 0700, if it is not there.
  std::string directory;
  // Empty: `spool.key` in `directory`.
  std::string key_file;
  uint64_t max_bytes = limits::kSpoolMax_bytes;
  uint64_t file_bytes = limits::kSpoolFile_bytes;
  // Must outlive the spool.
  base::FileSystem* files = base::FileSystem::Real();
};

// What is not durable yet of one session and its sides, on disk, encrypted
// (SPOOL_FORMAT.md): survives the process. One folder of bounded files, each of
// which begins with all that must be known of those before it. Not thread-safe;
// its calls wait for the disk. Two processes can't have one folder open.
class Spool {
 public:
  // Opens the folder of the session and these sides, or makes it.
  // ABORTED if a living process has it, FAILED_PRECONDITION if the key is not
  // its key.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(
      const SpoolOptions& options, const base::Uuid& session_id,
      const std::vector<api::v1::OpenSide>& sides, absl::Time start_time);

  // The folders that earlier processes left in options.directory, by name.
  static absl::StatusOr<std::vector<std::string>> List(
      const SpoolOptions& options);
  // One of these. Errors as above; DATA_LOSS if nothing can be read in it;
  // NOT_FOUND if its process died before it wrote anything, and the folder is
  // removed.
  static absl::StatusOr<std::unique_ptr<Spool>> OpenExisting(
      const SpoolOptions& options, const std::string& folder);

  ~Spool();

  // An earlier process left something.
  bool recovered() const { return recovered_; }
  // As the oldest file begins: the tracks to open a stream with.
  const SpoolState& oldest() const { return oldest_; }
  // With all that was written.
  const SpoolState& state() const { return state_; }
  // What of an earlier process can't be read, in plain sentences.
  const std::vector<std::string>& damages() const { return damages_; }

  // Throws away what an earlier process left, and begins with `sides`.
  absl::Status Discard(const std::vector<api::v1::OpenSide>& sides,
                       absl::Time start_time);

  // Numbers from here on await their renumbering.
  void SetProvisional();

  // Begins a file if none is open. After an error the next call begins a new
  // file; the items are to be given again. RESOURCE_EXHAUSTED: over max_bytes.
  absl::Status Append(absl::Span<const SpoolItem> items);
  // `all` from the session's beginning on: writes those that state() does not
  // have, and returns once all are safe on disk. May be called again after an
  // error.
  absl::Status AddRenumberings(absl::Span<const Renumbering> all);
  // fdatasync, if anything was written since. After an error, what was written
  // since the last success may not be there: it is to be given again.
  absl::Status Sync();

  // The next items after those that were read before, in their order, some
  // limits::kSpoolRead_bytes of them; empty once all that was written is read.
  // Numbers are as they were written. What is damaged is skipped and reported.
  absl::StatusOr<std::vector<SpoolItem>> ReadNext();

  // ReadNext goes on before or at the item of this order.
  void SeekTo(uint64_t order);
  // ReadNext goes on at a file that has at least so much behind its beginning,
  // or at the first one. Returns how things stood there.
  // REQUIRES: recovered().
  const SpoolState& SeekToTail(uint64_t tail_bytes);

  // Removes whole files with nothing but what is durable; never the one that is
  // being written.
  void MarkDurable(const api::v1::SideProgress& progress);
  // Does nothing while something is not synced.
  void Trim();
  // The archive refuses the side: nothing is kept for it.
  void ForgetSide(api::v1::Side side) { forgotten_.insert(side); }

  // The session is done: removes all.
  absl::Status Remove();

  // On disk.
  uint64_t bytes() const;

 private:
  struct File {
    uint64_t number = 0;
    // Whole blocks only.
    uint64_t bytes = 0;
    // As it begins; how the file before ended.
    SpoolState begin;
  };

  Spool(SpoolOptions options, std::string folder, std::string key);

  static absl::StatusOr<std::unique_ptr<Spool>> OpenFolder(
      const SpoolOptions& options, const std::string& folder);
  void StartState(const base::Uuid& session_id,
                  const std::vector<api::v1::OpenSide>& sides,
                  absl::Time start_time);
  absl::Status Recover();
  std::string PathOf(uint64_t number) const;
  absl::Status BeginFile();
  absl::Status WriteBlock(const std::string& plain);
  absl::Status WriteBlocks(absl::Span<const SpoolItem> items);
  std::string EncodeState() const;
  // Takes a block's records into `state` and, if not null, `items`.
  static absl::Status TakeBlock(absl::string_view plain, SpoolState* state,
                                std::vector<SpoolItem>* items);
  // Whole blocks of a file, one after the other.
  class BlockReader;

  const SpoolOptions options_;
  const std::string folder_;
  const std::string key_;
  std::unique_ptr<base::FileLock> lock_;
  bool recovered_ = false;
  SpoolState oldest_;
  SpoolState state_;
  std::vector<std::string> damages_;
  std::deque<File> files_;
  uint64_t next_file_ = 1;

  // The file that is being written; it is files_.back().
  std::unique_ptr<base::AppendFile> writing_;
  std::unique_ptr<SpoolCipher> cipher_;
  uint64_t next_block_ = 0;
  bool unsynced_ = false;
  // Why some of it can't be synced any more.
  absl::Status lost_;
  // Of state_.renumberings, how many are safe on disk.
  size_t renumberings_synced_ = 0;
  std::set<api::v1::Side> forgotten_;

  // Where reading goes on: files_ number and the reader in it.
  uint64_t reading_file_ = 0;
  std::unique_ptr<BlockReader> reader_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SPOOL_H_
