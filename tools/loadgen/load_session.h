#ifndef TOOLS_LOADGEN_LOAD_SESSION_H_
#define TOOLS_LOADGEN_LOAD_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "tools/loadgen/ack_ledger.h"
#include "tools/loadgen/channel_pool.h"
#include "tools/loadgen/recording.h"
#include "tools/loadgen/report.h"
#include "tools/loadgen/session_plan.h"

namespace diptych::loadgen {

// What all sessions of a load share; outlives them.
struct LoadContext {
  const Recording* recording = nullptr;
  ChannelPool* channels = nullptr;
  Report* report = nullptr;
  // May be null.
  AckLedger* ledger = nullptr;
  // As fast as the archive takes it, rather than in real time.
  bool fast = false;
  bool stream_per_side = false;
  // Close sessions at their end; otherwise they are left open once all of them
  // is durable.
  bool close = true;
  absl::Duration batch = limits::kBatchMax;
  // A stream that is owed an answer and hears nothing for so long is given up.
  absl::Duration stall = absl::Seconds(10);
  absl::Duration reconnect_min = limits::kReconnectMin;
  absl::Duration reconnect_max = absl::Seconds(1);
};

// One session of a load: a lean gateway that keeps nothing, since packets can
// be had again from the recording, and that believes nothing: each answer is
// checked against what was promised before. Without threads of its own: it runs
// on gRPC's callbacks and on whoever calls Wake. Thread-safe.
class LoadSession {
 public:
  // Begins at the first Wake. `index` picks channels.
  static std::shared_ptr<LoadSession> Create(const LoadContext* context,
                                             SessionPlan plan, size_t index,
                                             absl::Duration length);
  virtual ~LoadSession() = default;

  // Does what is due; to be called once wake_at_us() is past. `now` is
  // monotonic.
  virtual void Wake(absl::Duration now) = 0;
  virtual int64_t wake_at_us() const = 0;

  // Sends nothing new, and ends as a session of this length would.
  virtual void EndEarly() = 0;
  // Breaks off.
  virtual void Abort() = 0;

  // Nothing will happen any more.
  virtual bool ended() const = 0;
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_LOAD_SESSION_H_
