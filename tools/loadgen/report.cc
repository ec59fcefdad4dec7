#include "tools/loadgen/report.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"

namespace diptych::loadgen {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMicrosPerMilli = 1000.0;

// Every counter, by its name in the report.
template <typename Do>
void ForEach(const Do& action) {
  action("sessions_started", &Counts::sessions_started);
  action("sessions_opened", &Counts::sessions_opened);
  action("sessions_finished", &Counts::sessions_finished);
  action("sessions_failed", &Counts::sessions_failed);
  action("packets_sent", &Counts::packets_sent);
  action("packets_resent", &Counts::packets_resent);
  action("packets_durable", &Counts::packets_durable);
  action("bytes_sent", &Counts::bytes_sent);
  action("bytes_durable", &Counts::bytes_durable);
  action("messages_sent", &Counts::messages_sent);
  action("acknowledgements", &Counts::acknowledgements);
  action("reconnects", &Counts::reconnects);
  action("failed_attempts", &Counts::failed_attempts);
  action("refused", &Counts::refused);
  action("stalled", &Counts::stalled);
  action("slow_downs", &Counts::slow_downs);
  action("drainings", &Counts::drainings);
  action("keyframes_wanted", &Counts::keyframes_wanted);
  action("violations", &Counts::violations);
}

Json LatencyJson(const Histogram& histogram) {
  const auto at = [&](double share) {
    return static_cast<double>(histogram.Quantile_us(share)) / kMicrosPerMilli;
  };
  return {{"packets", histogram.count()},
          {"p50", at(0.5)},
          {"p90", at(0.9)},
          {"p99", at(0.99)},
          {"p999", at(0.999)},
          {"max", static_cast<double>(histogram.max_us()) / kMicrosPerMilli}};
}

}  // namespace

void Report::Add(const Counts& counts) {
  base::MutexLock lock(&mutex_);
  ForEach([&](const char*, uint64_t Counts::*member)
              ABSL_NO_THREAD_SAFETY_ANALYSIS {
                counts_.*member += counts.*member;
              });
}

void Report::AddLatency(int64_t latency_us, uint64_t packets, bool again) {
  base::MutexLock lock(&mutex_);
  (again ? latency_after_break_ : latency_).Add(latency_us, packets);
}

void Report::AddViolation(const std::string& what) {
  base::MutexLock lock(&mutex_);
  ++counts_.violations;
  Keep(absl::StrCat("violation: ", what));
}

void Report::AddProblem(const std::string& what) {
  base::MutexLock lock(&mutex_);
  Keep(what);
}

void Report::Keep(const std::string& what) {
  if (problems_.size() < limits::kLoadShownProblems) problems_.push_back(what);
}

Counts Report::counts() const {
  base::MutexLock lock(&mutex_);
  return counts_;
}

Json Report::ToJson(double elapsed_s) const {
  base::MutexLock lock(&mutex_);
  const Counts counts = counts_;
  Json json = {{"elapsed_s", elapsed_s}};
  ForEach([&](const char* name, uint64_t Counts::*member) {
    json[name] = counts.*member;
  });
  if (elapsed_s > 0) {
    json["packets_per_s"] =
        static_cast<double>(counts.packets_durable) / elapsed_s;
    json["bytes_per_s"] = static_cast<double>(counts.bytes_durable) / elapsed_s;
  }
  json["latency_ms"] = LatencyJson(latency_);
  json["latency_after_break_ms"] = LatencyJson(latency_after_break_);
  json["problems"] = problems_;
  return json;
}

}  // namespace diptych::loadgen
