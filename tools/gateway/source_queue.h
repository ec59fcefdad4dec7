#ifndef TOOLS_GATEWAY_SOURCE_QUEUE_H_
#define TOOLS_GATEWAY_SOURCE_QUEUE_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "archiver/base/mutex.h"
#include "tools/gateway/media_source.h"

namespace diptych::gateway {

// Reads a source on a thread of its own, a bounded stretch ahead
// (limits::kSourceQueue_packets, limits::kSourceQueue_bytes). Thread-safe.
class SourceQueue {
 public:
  // `source` must outlive this and is not to be touched until Stop or
  // destruction.
  explicit SourceQueue(MediaSource* source);
  // Waits for the reading thread: a live source must have been stopped.
  ~SourceQueue();

  // The next item stays in the queue. Null if there is none yet, or no more.
  // Valid until Pop.
  const SourceItem* Front() const;
  SourceItem Pop();
  bool finished() const;

  // Returns once there is an item, the source has ended, or `timeout` passed.
  void Wait(absl::Duration timeout);

  // Reads no more and throws away what was read.
  void Stop();

 private:
  void ReadAll();
  bool IsFull() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  MediaSource* const source_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<SourceItem> items_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reader_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SOURCE_QUEUE_H_
