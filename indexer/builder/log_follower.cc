#include "indexer/builder/log_follower.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "indexer/builder/index_builder.h"

namespace diptych::indexer {

LogPump::LogPump(const log::LogReader* log, IndexBuilder* builder,
                 size_t max_batch_records)
    : log_(log), builder_(builder), max_batch_records_(max_batch_records) {}

absl::Status LogPump::Add(const log::StoredRecord& record) {
  if (!IndexBuilder::NeedsBody(record.type) ||
      record.type == log::RecordType::kSnapshot) {
    records_.push_back(record);
  } else {
    // The scan leaves bodies out, since nearly all of them are media.
    absl::StatusOr<log::StoredRecord> whole =
        log_->Read(record.position, record.end - record.position);
    if (absl::IsDataLoss(whole.status())) {
      damages_.push_back({.from = record.position,
                          .to = record.end,
                          .volume = "",
                          .what = "body checksum differs",
                          .was_durable = true});
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(whole.status());
    records_.push_back(*std::move(whole));
  }
  bytes_ += record.header.size() + records_.back().body.size();
  return absl::OkStatus();
}

absl::Status LogPump::Commit(log::Position next) {
  const absl::Status status = builder_->Apply(records_, damages_, next);
  records_.clear();
  damages_.clear();
  bytes_ = 0;
  return status;
}

absl::StatusOr<log::Position> LogPump::PumpUntil(
    log::Position until,
    const std::function<absl::Status(log::Position)>& on_commit) {
  records_.clear();
  damages_.clear();
  bytes_ = 0;
  ASSIGN_OR_RETURN(
      const log::Position end,
      log_->Scan(
          {.from = builder_->position(), .until = until, .bodies = false},
          [&](const log::StoredRecord& record) {
            RETURN_IF_ERROR(Add(record));
            // One that moves many sessions' keys has them all at hand at once.
            if (record.type != log::RecordType::kKeysChanged &&
                records_.size() < max_batch_records_ &&
                bytes_ < limits::kIndexBatch_bytes) {
              return absl::OkStatus();
            }
            RETURN_IF_ERROR(Commit(record.end));
            return on_commit(record.end);
          },
          [&](const log::Damage& damage) {
            damages_.push_back(damage);
            damages_.back().was_durable = true;
            return absl::OkStatus();
          }));
  if (end != builder_->position()) {
    RETURN_IF_ERROR(Commit(end));
    RETURN_IF_ERROR(on_commit(end));
  }
  return end;
}

LogFollower::LogFollower(const log::LogReader* log, IndexBuilder* builder,
                         base::Clock* clock, Begin begin)
    : log_(log),
      builder_(builder),
      pump_(
          std::make_unique<LogPump>(log, builder, limits::kIndexBatch_records)),
      clock_(clock) {
  {
    base::MutexLock lock(&mutex_);
    paused_ = begin == Begin::kPaused;
    status_.consumed = builder->position();
    status_.state = builder->state();
  }
  thread_ = std::thread([this] { Run(); });
}

LogFollower::~LogFollower() { Stop(); }

void LogFollower::Stop() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void LogFollower::Pause() {
  base::MutexLock lock(&mutex_);
  paused_ = true;
  changed_.NotifyAll();
  while (!idle_ && !stopping_) changed_.Wait(&mutex_);
}

void LogFollower::Resume(IndexBuilder* builder) {
  base::MutexLock lock(&mutex_);
  // Nothing goes on any more.
  if (stopping_) return;
  // The thread must be in neither builder nor pump.
  paused_ = true;
  changed_.NotifyAll();
  while (!idle_ && !stopping_) changed_.Wait(&mutex_);
  if (stopping_) return;
  builder_ = builder;
  pump_ = std::make_unique<LogPump>(log_, builder, limits::kIndexBatch_records);
  status_.consumed = builder->position();
  status_.state = builder->state();
  status_.error = absl::OkStatus();
  lag_.Consumed(status_.consumed, clock_->Monotonic());
  paused_ = false;
  changed_.NotifyAll();
}

void LogFollower::SetDurableEnd(log::Position position) {
  base::MutexLock lock(&mutex_);
  status_.writer_reachable = true;
  if (position <= status_.durable_end) return;
  status_.durable_end = position;
  if (position > status_.consumed) {
    lag_.Arrived(position, clock_->Monotonic());
  }
  changed_.NotifyAll();
}

void LogFollower::SetWriterUnreachable() {
  base::MutexLock lock(&mutex_);
  status_.writer_reachable = false;
}

LogFollower::Status LogFollower::status() const {
  base::MutexLock lock(&mutex_);
  Status status = status_;
  const absl::Duration now = clock_->Monotonic();
  status.lag_us = absl::ToInt64Microseconds(lag_.Lag(now));
  status.worst_lag_us = absl::ToInt64Microseconds(lag_.Worst(now));
  return status;
}

bool LogFollower::WaitUntil(log::Position position,
                            absl::Duration timeout) const {
  base::Clock* const clock = base::Clock::Real();
  const absl::Duration deadline = clock->Monotonic() + timeout;
  base::MutexLock lock(&mutex_);
  while (status_.consumed < position && !stopping_) {
    const absl::Duration left = deadline - clock->Monotonic();
    if (left <= absl::ZeroDuration()) return false;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return status_.consumed >= position;
}

bool LogFollower::WaitForWork(log::Position* until) {
  base::MutexLock lock(&mutex_);
  idle_ = true;
  changed_.NotifyAll();
  while (!stopping_ && (paused_ || status_.durable_end <= status_.consumed)) {
    changed_.Wait(&mutex_);
  }
  idle_ = false;
  *until = status_.durable_end;
  return !stopping_;
}

bool LogFollower::WaitToRetry(absl::Duration delay) {
  base::Clock* const clock = base::Clock::Real();
  const absl::Duration deadline = clock->Monotonic() + delay;
  base::MutexLock lock(&mutex_);
  while (!stopping_ && !paused_) {
    const absl::Duration left = deadline - clock->Monotonic();
    if (left <= absl::ZeroDuration()) return true;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return !stopping_;
}

void LogFollower::Run() {
  absl::Duration delay = limits::kIndexRetryFirst;
  log::Position until = 0;
  while (WaitForWork(&until)) {
    const auto on_commit = [&](log::Position consumed) {
      base::MutexLock lock(&mutex_);
      status_.consumed = std::max(status_.consumed, consumed);
      lag_.Consumed(status_.consumed, clock_->Monotonic());
      status_.state = builder_->state();
      status_.error = absl::OkStatus();
      changed_.NotifyAll();
      return stopping_ || paused_ ? absl::CancelledError() : absl::OkStatus();
    };
    const absl::StatusOr<log::Position> end =
        pump_->PumpUntil(until, on_commit);
    if (end.ok()) {
      delay = limits::kIndexRetryFirst;
      base::MutexLock lock(&mutex_);
      status_.error = absl::OkStatus();
      if (status_.consumed < until) {
        status_.error =
            absl::UnavailableError("the log is shorter than its writer says");
      }
      changed_.NotifyAll();
      if (status_.error.ok()) continue;
    } else {
      base::MutexLock lock(&mutex_);
      if (stopping_) return;
      if (paused_) continue;
      status_.error = end.status();
    }
    base::LogLine(base::Severity::kError, "index_stalled",
                  {{"error", status().error.message()}});
    if (!WaitToRetry(delay)) return;
    delay = std::min(2 * delay, limits::kIndexRetryMax);
  }
}

}  // namespace diptych::indexer
