#ifndef TOOLS_LOADGEN_REPORT_H_
#define TOOLS_LOADGEN_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/base/thread_annotations.h"
#include "archiver/base/mutex.h"
#include "tools/loadgen/histogram.h"

namespace diptych::loadgen {

// Plain sums; what each is, README.md says.
struct Counts {
  uint64_t sessions_started = 0;
  uint64_t sessions_opened = 0;
  uint64_t sessions_finished = 0;
  uint64_t sessions_failed = 0;
  uint64_t packets_sent = 0;
  uint64_t packets_resent = 0;
  uint64_t packets_durable = 0;
  uint64_t bytes_sent = 0;
  uint64_t bytes_durable = 0;
  uint64_t messages_sent = 0;
  uint64_t acknowledgements = 0;
  uint64_t reconnects = 0;
  uint64_t failed_attempts = 0;
  uint64_t refused = 0;
  uint64_t stalled = 0;
  uint64_t slow_downs = 0;
  uint64_t drainings = 0;
  uint64_t keyframes_wanted = 0;
  uint64_t violations = 0;
};

// What all sessions together did. Thread-safe.
class Report {
 public:
  // Adds up.
  void Add(const Counts& counts);
  // One message's packets became durable so long after they were sent; `again`
  // if a break lay between.
  void AddLatency(int64_t latency_us, uint64_t packets, bool again);
  // The archive broke its word.
  void AddViolation(const std::string& what);
  // Something else that a person should read.
  void AddProblem(const std::string& what);

  Counts counts() const;
  nlohmann::ordered_json ToJson(double elapsed_s) const;

 private:
  void Keep(const std::string& what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable base::Mutex mutex_;
  Counts counts_ ABSL_GUARDED_BY(mutex_);
  Histogram latency_ ABSL_GUARDED_BY(mutex_);
  Histogram latency_after_break_ ABSL_GUARDED_BY(mutex_);
  // The first limits::kLoadShownProblems.
  std::vector<std::string> problems_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_REPORT_H_
