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
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/mutex.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"

namespace diptych::log {

// The one writer of a store: gathers what many sessions submit and makes it
// durable with one sync (group commit). While the disk is full it keeps what it
// has, acknowledges nothing, and goes on by itself when there is space again;
// the queue's bound then holds the sessions back. Thread-safe.
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
    // Once for each change of health(), from a thread of its own: nothing
    // becomes durable from here on, for this reason; all is well again. A
    // reason that takes another one's place is a change.
    std::function<void(const absl::Status&)> on_unhealthy;
    std::function<void()> on_healthy;
  };

  // Starts three threads: one commits (and calls the hooks), one calls back, so
  // that a slow callback delays no commit, one watches over the first. `store`
  // and `clock` must outlive this.
  Committer(LogStore* store, Hooks hooks,
            base::Clock* clock = base::Clock::Real());

  // Commits what is queued, calls back, and stops. If the disk is full, what
  // waits for space fails.
  ~Committer();

  // Queues the records; they stay together and in order. `done` is called
  // exactly once, from the calling-back thread, in the order of submission.
  // RESOURCE_EXHAUSTED, and no call, if the queue is full; INTERNAL if a record
  // is over the format's limits; the disk's error if it has failed.
  absl::Status Submit(std::vector<Record> records, Done done)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Submits and waits. For callers that have nothing else to do.
  // DEADLINE_EXCEEDED once `timeout` has passed: the records may still become
  // durable.
  absl::StatusOr<std::vector<Position>> SubmitAndWait(
      std::vector<Record> records,
      absl::Duration timeout = absl::InfiniteDuration());

  // False: from here on a full disk is an error as others are, and whoever
  // waits for space fails. For a start, and for a stop.
  void SetWaitsForSpace(bool waits) ABSL_LOCKS_EXCLUDED(mutex_);

  // OK, or why nothing becomes durable right now: RESOURCE_EXHAUSTED, it waits
  // for space; DEADLINE_EXCEEDED, a write or sync has been running for longer
  // than limits::kCommitStuck; UNAVAILABLE: the disk has failed, for good.
  absl::Status health() const ABSL_LOCKS_EXCLUDED(mutex_);

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
  void WatchLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status HealthLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Appends, and waits for space as long as that takes.
  absl::StatusOr<std::vector<Position>> AppendWhenSpace(
      const std::vector<Record>& records) ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes no more from here on. Returns what everybody is told.
  absl::Status FailForGood(const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One group: appends all items' records and hands out their positions.
  void CommitGroup(std::vector<Item> items) ABSL_LOCKS_EXCLUDED(mutex_);

  LogStore* const store_;
  const Hooks hooks_;
  base::Clock* const clock_;

  mutable base::Mutex mutex_;
  base::CondVar work_;
  base::CondVar finished_work_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Finished> finished_ ABSL_GUARDED_BY(mutex_);
  base::CondVar space_wait_;
  base::CondVar watch_;
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  // Not OK while it waits for space.
  absl::Status no_space_ ABSL_GUARDED_BY(mutex_);
  // Since when the store has been at work on a batch.
  std::optional<absl::Duration> busy_since_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool waits_for_space_ ABSL_GUARDED_BY(mutex_) = true;
  bool committed_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_watching_ ABSL_GUARDED_BY(mutex_) = false;

  // Last, so that they start when everything above is there.
  std::thread commit_thread_;
  std::thread notify_thread_;
  std::thread watch_thread_;
};

}  // namespace diptych::log

#endif  // ARCHIVER_LOG_COMMITTER_H_
