#ifndef ARCHIVER_LOG_COMMITTER_H_
#define ARCHIVER_LOG_COMMITTER_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/mutex.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"

namespace diptych::log {

// The one writer of a store: gathers what many sessions submit and makes it
// durable with one sync (group commit). Thread-safe.
class Committer {
 public:
  // Positions of the submitted records, once they are durable.
  using Done =
      std::function<void(const absl::StatusOr<std::vector<Position>>&)>;

  struct Hooks {
    // Asked for when a new volume begins; put in front of the batch.
    std::function<std::optional<Record>()> snapshot;
    // For each record that has become durable, in the order of the log.
    std::function<void(const Record&, Position)> on_record;
    // Whenever the durable end has moved.
    std::function<void(Position)> on_durable;
    // Once, when the disk has failed: nothing is acknowledged from here on.
    std::function<void(const absl::Status&)> on_failed;
  };

  // Starts two threads: one commits (and calls the hooks), one calls back, so
  // that a slow callback delays no commit. `store` must outlive this.
  Committer(LogStore* store, Hooks hooks);

  // Commits what is queued, calls back, and stops.
  ~Committer();

  // Queues the records; they stay together and in order. `done` is called
  // exactly once, from the calling-back thread, in the order of submission.
  // RESOURCE_EXHAUSTED, and no call, if the queue is full; INTERNAL if a record
  // is over the format's limits; the disk's error if it has failed.
  absl::Status Submit(std::vector<Record> records, Done done)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Submits and waits. For callers that have nothing else to do.
  absl::StatusOr<std::vector<Position>> SubmitAndWait(
      std::vector<Record> records);

  size_t queued_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Item {
    std::vector<Record> records;
    size_t bytes = 0;
    Done done;
  };
  struct Finished {
    Done done;
    absl::StatusOr<std::vector<Position>> result;
  };

  void CommitLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  void NotifyLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  // One group: appends all items' records and hands out their positions.
  void CommitGroup(std::vector<Item> items) ABSL_LOCKS_EXCLUDED(mutex_);

  LogStore* const store_;
  const Hooks hooks_;

  mutable base::Mutex mutex_;
  base::CondVar work_;
  base::CondVar finished_work_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Finished> finished_ ABSL_GUARDED_BY(mutex_);
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool committed_all_ ABSL_GUARDED_BY(mutex_) = false;

  // Last, so that they start when everything above is there.
  std::thread commit_thread_;
  std::thread notify_thread_;
};

}  // namespace diptych::log

#endif  // ARCHIVER_LOG_COMMITTER_H_
