#ifndef INDEXER_BUILDER_REBUILD_JOB_H_
#define INDEXER_BUILDER_REBUILD_JOB_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/rebuild.h"
#include "indexer/store/index_store.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Makes the index of a running reader again, on a thread of its own, while the
// old one goes on answering; then puts the new one in its place. Begins by
// itself when the store has met damage, but not sooner than some minutes after
// the last time. Thread-safe.
class RebuildJob {
 public:
  struct Options {
    RebuildSource source;
    // These must outlive the job.
    IndexDatabase* store = nullptr;
    LogFollower* follower = nullptr;
    // The follower's; the job keeps it, and those that come after it.
    std::unique_ptr<IndexBuilder> builder;
    // What is current has no use: it answers nothing until it is made again.
    // The follower is then paused.
    bool unusable = false;
    // Is called if the store itself can't go on: only a new start helps.
    std::function<void()> on_hopeless;
    base::Clock* clock = base::Clock::Real();
  };

  // Where it stands.
  struct News {
    // A rebuild is under way, or waits to begin.
    bool running = false;
    RebuildProgress progress;
    // Rebuilds that have ended, and how the last one did.
    uint64_t ended = 0;
    absl::StatusOr<stored::v1::IndexState> result =
        absl::UnknownError("there was none");

    // The reader stops: nothing new comes any more.
    bool stopped = false;

    friend bool operator==(const News& a, const News& b) {
      return a.running == b.running && a.progress == b.progress &&
             a.ended == b.ended && a.stopped == b.stopped;
    }
  };

  // Begins at once if what is current has no use.
  explicit RebuildJob(Options options);
  // Ends the one under way; what it has done is kept for the next.
  ~RebuildJob();
  RebuildJob(const RebuildJob&) = delete;
  RebuildJob& operator=(const RebuildJob&) = delete;

  // Somebody asks for a rebuild: joins the one under way, or begins one. The
  // news as they then are.
  News Start() ABSL_LOCKS_EXCLUDED(mutex_);

  News news() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until the news are others, or for so long.
  News WaitForOther(const News& seen, absl::Duration timeout) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Nothing new comes any more.
  void StopWaiting() ABSL_LOCKS_EXCLUDED(mutex_);

  // What answers lack meanwhile, in words; empty if nothing.
  std::string trouble() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // False if it is time to stop.
  bool WaitForWork() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<stored::v1::IndexState> Rebuild() ABSL_LOCKS_EXCLUDED(mutex_);
  // What the log's writer says is durable; waits until it has said so.
  absl::StatusOr<log::Position> WaitForLogEnd() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CatchUp(IndexBuilder* builder) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Tell(const RebuildProgress& progress)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::unique_ptr<IndexBuilder>> MakeBuilder(
      IndexStore* store) const;
  // What can't be removed is at the next start.
  void ClearFiles() const;

  const RebuildSource source_;
  IndexDatabase* const store_;
  LogFollower* const follower_;
  const std::function<void()> on_hopeless_;
  base::Clock* const clock_;
  // The thread's.
  std::unique_ptr<IndexBuilder> builder_;
  // The new index has its place, and there is no builder for it.
  bool stuck_ = false;

  mutable base::Mutex mutex_;
  mutable base::CondVar changed_;
  News news_ ABSL_GUARDED_BY(mutex_);
  bool unusable_ ABSL_GUARDED_BY(mutex_);
  // When the next one is to begin.
  std::optional<absl::Duration> due_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Duration> last_end_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_REBUILD_JOB_H_
