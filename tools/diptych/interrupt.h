#ifndef TOOLS_DIPTYCH_INTERRUPT_H_
#define TOOLS_DIPTYCH_INTERRUPT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "absl/status/status.h"
#include "archiver/base/mutex.h"

namespace diptych::cli {

// Ctrl-C. From construction on SIGINT and SIGTERM no longer kill the program
// but set a flag and run the callbacks (which cancel calls); the command then
// tidies up and ends with CANCELLED. A second one exits at once with 130.
// REQUIRES: made before any other thread, so that all inherit the signal mask.
// Thread-safe.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool requested() const { return requested_.load(std::memory_order_acquire); }

  // CANCELLED once requested, else OK. For loops.
  absl::Status Check() const;

  // Runs `callback` on the interrupt's own thread when it is requested (at
  // once, on the caller's, if it already was) until this object goes.
  class ScopedCallback {
   public:
    ScopedCallback(Interrupt* interrupt, std::function<void()> callback);
    ~ScopedCallback();
    ScopedCallback(const ScopedCallback&) = delete;
    ScopedCallback& operator=(const ScopedCallback&) = delete;

   private:
    Interrupt* const interrupt_;
    const uint64_t id_;
  };

 private:
  void Wait();
  uint64_t Add(std::function<void()> callback);
  void Remove(uint64_t id);

  std::atomic<bool> requested_ = false;
  std::atomic<bool> stopping_ = false;
  // Held while callbacks run, so that none runs after its Remove.
  base::Mutex mutex_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, std::function<void()>> callbacks_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_INTERRUPT_H_
