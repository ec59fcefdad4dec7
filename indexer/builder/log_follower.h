#ifndef INDEXER_BUILDER_LOG_FOLLOWER_H_
#define INDEXER_BUILDER_LOG_FOLLOWER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/lag_meter.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Reads the log in batches and hands them to the builder: the part that
// following and rebuilding share.
class LogPump {
 public:
  LogPump(const log::LogReader* log, IndexBuilder* builder,
          size_t max_batch_records);

  // Takes everything in [builder position, until). Commits after each batch,
  // and calls `on_commit` then; stops early if that returns an error, and
  // returns it. Returns where the log ended, at most `until`. REQUIRES: what
  // lies before `until` is durable, so that all damage there is loss, and
  // nothing there is ever written anew.
  absl::StatusOr<log::Position> PumpUntil(
      log::Position until,
      const std::function<absl::Status(log::Position)>& on_commit);

 private:
  absl::Status Add(const log::StoredRecord& record);
  absl::Status Commit(log::Position next);

  const log::LogReader* const log_;
  IndexBuilder* const builder_;
  const size_t max_batch_records_;
  std::vector<log::StoredRecord> records_;
  size_t bytes_ = 0;
  std::vector<log::Damage> damages_;
};

// A thread that keeps the index up with the log. Thread-safe.
class LogFollower {
 public:
  struct Status {
    // Everything before this is in the index.
    log::Position consumed = 0;
    // Everything before this is known to be durable in the log.
    log::Position durable_end = 0;
    // Whether the writer was there when last asked.
    bool writer_reachable = false;
    // The error that keeps the index from going on; it tries again.
    absl::Status error;
    // For how long the oldest durable bytes that are not in the index have
    // waited, and the longest that any waited in the last minute.
    int64_t lag_us = 0;
    int64_t worst_lag_us = 0;
    stored::v1::IndexState state;
  };

  enum class Begin { kFollowing, kPaused };

  // Starts. `log` and `builder` must outlive it, and nobody else may use the
  // builder unless it is paused. The lag is told by `clock`.
  LogFollower(const log::LogReader* log, IndexBuilder* builder,
              base::Clock* clock = base::Clock::Real(),
              Begin begin = Begin::kFollowing);
  // Stops after the batch at hand.
  ~LogFollower();
  LogFollower(const LogFollower&) = delete;
  LogFollower& operator=(const LogFollower&) = delete;

  // Everything before `position` is durable. Never goes back. The writer has
  // been heard of, so it is reachable.
  void SetDurableEnd(log::Position position) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetWriterUnreachable() ABSL_LOCKS_EXCLUDED(mutex_);

  Status status() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits until everything before `position` is in the index; false if that
  // takes longer than `timeout` or it stops first.
  bool WaitUntil(log::Position position, absl::Duration timeout) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes nothing more; returns when the batch at hand is in. What becomes
  // durable meanwhile waits.
  void Pause() ABSL_LOCKS_EXCLUDED(mutex_);
  // Goes on with this builder from where that stands, once the batch at hand is
  // in. The one before is then not used any more. Nothing, if it has stopped.
  void Resume(IndexBuilder* builder) ABSL_LOCKS_EXCLUDED(mutex_);

  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // Blocks until there is something to read; false if it is time to stop.
  bool WaitForWork(log::Position* until) ABSL_LOCKS_EXCLUDED(mutex_);
  // False if it is time to stop.
  bool WaitToRetry(absl::Duration delay) ABSL_LOCKS_EXCLUDED(mutex_);

  const log::LogReader* const log_;
  // The thread's; Resume changes them while it is paused.
  IndexBuilder* builder_;
  std::unique_ptr<LogPump> pump_;
  base::Clock* const clock_;
  mutable base::Mutex mutex_;
  mutable base::CondVar changed_;
  Status status_ ABSL_GUARDED_BY(mutex_);
  LagMeter lag_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  // The thread uses neither builder nor pump.
  bool idle_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_LOG_FOLLOWER_H_
