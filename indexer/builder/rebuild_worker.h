#ifndef INDEXER_BUILDER_REBUILD_WORKER_H_
#define INDEXER_BUILDER_REBUILD_WORKER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/disk_room.h"
#include "indexer/builder/opener_cache.h"
#include "indexer/builder/session_record.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// What the pass over the log tells a worker, in the order of the log.
struct RebuildTask {
  enum class Kind {
    // A session begins: nothing else comes of it before.
    kBegin,
    // One of its records.
    kRecord,
    // A snapshot names this epoch of it.
    kEpoch,
    // An epoch's keys lie elsewhere.
    kMoveKeys,
    // No more comes of it: its rows are to be written.
    kEnd,
  };

  Kind kind = Kind::kRecord;
  base::Uuid session;
  // kBegin.
  SessionNumber number;
  int64_t start_time_us = 0;
  bool opening_lost = false;
  // kEpoch, kMoveKeys.
  uint64_t epoch = 0;
  log::Position key_position = 0;
  // kRecord; of kBegin only the position.
  log::StoredRecord record;
};

// A thread that folds the records of its sessions and writes their rows when
// they end. Its methods are for one thread, which feeds it.
class RebuildWorker {
 public:
  // What the sessions that have ended come to.
  struct Counts {
    RecordCounts records;
    uint64_t unreadable_headers = 0;
  };

  // `keys` and `room` must outlive it. Rows go to files whose names begin with
  // `path`.
  RebuildWorker(const seal::IndexKeys* keys,
                std::unique_ptr<OpenerCache> openers, std::string path,
                const DiskRoom* room);
  // Forgets what it has not done yet.
  ~RebuildWorker();
  RebuildWorker(const RebuildWorker&) = delete;
  RebuildWorker& operator=(const RebuildWorker&) = delete;

  // Before the first task.
  void Restore(FamilyRuns runs, uint64_t next_file);

  // Waits while too much waits to be done. The error is the first that its
  // writer met.
  absl::Status Give(std::vector<RebuildTask> tasks) ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits until all is done and written to runs. Nothing runs then until the
  // next Give, so that writer() may be looked at and TakeCounts be
  // called.
  absl::Status Settle() ABSL_LOCKS_EXCLUDED(mutex_);
  const BulkWriter& writer() const { return writer_; }
  // Since they were taken last.
  Counts TakeCounts() { return std::exchange(counts_, Counts()); }

 private:
  struct Open {
    SessionState state;
    Counts counts;
  };

  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  void Do(RebuildTask* task);
  void DoRecord(const RebuildTask& task, Open* open);
  void AddWords(TagNotes notes, log::Position position);

  const seal::IndexKeys* const keys_;
  const std::unique_ptr<OpenerCache> openers_;
  BulkWriter writer_;
  Counts counts_;
  absl::flat_hash_map<base::Uuid, std::unique_ptr<Open>> open_;
  // Values that were written as words lately.
  absl::flat_hash_set<std::string> words_;

  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<std::vector<RebuildTask>> queue_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool settling_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_REBUILD_WORKER_H_
