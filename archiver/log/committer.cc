#include "archiver/log/committer.h"

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"

namespace diptych::log {
namespace {

// For waits, which pass in real time whatever clock judges health.
absl::Duration Monotonic() { return base::Clock::Real()->Monotonic(); }

}  // namespace

Committer::Committer(LogStore* store, Hooks hooks, base::Clock* clock)
    : store_(store),
      hooks_(std::move(hooks)),
      clock_(clock),
      commit_thread_([this] { CommitLoop(); }),
      notify_thread_([this] { NotifyLoop(); }),
      watch_thread_([this] { WatchLoop(); }) {}

Committer::~Committer() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    waits_for_space_ = false;
    work_.NotifyAll();
    space_wait_.NotifyAll();
  }
  commit_thread_.join();
  notify_thread_.join();
  {
    base::MutexLock lock(&mutex_);
    stop_watching_ = true;
    watch_.NotifyAll();
  }
  watch_thread_.join();
}

absl::Status Committer::Submit(std::vector<Record> records, Done done) {
  Item item;
  // What it weighs without any record.
  item.bytes = limits::kCommitItem_bytes;
  for (const Record& record : records) {
    // Here, so that it fails the caller that made it and not the store.
    if (record.header.size() > limits::kMaxRecordHeader_bytes ||
        record.body.size() > limits::kMaxRecordBody_bytes) {
      return absl::InternalError(absl::StrCat("a ", RecordTypeName(record.type),
                                              " record is over the limit"));
    }
    item.bytes += record.header.size() + record.body.size();
  }
  item.records = std::move(records);
  item.done = std::move(done);
  base::MutexLock lock(&mutex_);
  if (!failed_.ok()) return failed_;
  if (queued_bytes_ + item.bytes > limits::kCommitQueue_bytes) {
    api::v1::ErrorDetail detail;
    detail.set_reason("COMMIT_QUEUE_FULL");
    detail.set_retryable(true);
    return base::MakeError(absl::StatusCode::kResourceExhausted,
                           "the disk does not keep up; try again later",
                           detail);
  }
  queued_bytes_ += item.bytes;
  queue_.push_back(std::move(item));
  work_.NotifyOne();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Position>> Committer::SubmitAndWait(
    std::vector<Record> records, absl::Duration timeout) {
  struct Waiter {
    base::Mutex mutex;
    base::CondVar ready;
    std::optional<absl::StatusOr<std::vector<Position>>> result
        ABSL_GUARDED_BY(mutex);
  };
  // Shared with the callback, which may still be leaving its lock when the
  // waiter has gone on.
  const auto waiter = std::make_shared<Waiter>();
  const absl::Status submitted =
      Submit(std::move(records),
             [waiter](const absl::StatusOr<std::vector<Position>>& result) {
               base::MutexLock lock(&waiter->mutex);
               waiter->result = result;
               waiter->ready.NotifyAll();
             });
  if (!submitted.ok()) return submitted;
  const absl::Duration deadline = Monotonic() + timeout;
  base::MutexLock lock(&waiter->mutex);
  while (!waiter->result.has_value()) {
    if (timeout == absl::InfiniteDuration()) {
      waiter->ready.Wait(&waiter->mutex);
      continue;
    }
    const absl::Duration left = deadline - Monotonic();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError("the records are not durable yet");
    }
    waiter->ready.WaitWithTimeout(&waiter->mutex, left);
  }
  return *waiter->result;
}

void Committer::SetWaitsForSpace(bool waits) {
  base::MutexLock lock(&mutex_);
  // A stop is not taken back.
  waits_for_space_ = waits && !stopping_;
  space_wait_.NotifyAll();
}

absl::Status Committer::health() const {
  base::MutexLock lock(&mutex_);
  return HealthLocked();
}

absl::Status Committer::HealthLocked() const {
  if (!failed_.ok()) return failed_;
  if (busy_since_.has_value()) {
    const absl::Duration busy = clock_->Monotonic() - *busy_since_;
    if (busy > limits::kCommitStuck) {
      return absl::DeadlineExceededError(
          absl::StrCat("a write to the disk has been running for ",
                       absl::ToInt64Seconds(busy), " s"));
    }
  }
  return no_space_;
}

size_t Committer::queued_bytes() const {
  base::MutexLock lock(&mutex_);
  return queued_bytes_;
}

void Committer::CommitLoop() {
  for (;;) {
    std::vector<Item> items;
    {
      base::MutexLock lock(&mutex_);
      while (queue_.empty() && !stopping_) work_.Wait(&mutex_);
      if (queue_.empty()) {
        committed_all_ = true;
        finished_work_.NotifyAll();
        return;
      }
      size_t bytes = 0;
      while (!queue_.empty() &&
             (items.empty() ||
              bytes + queue_.front().bytes <= limits::kCommitBatch_bytes)) {
        bytes += queue_.front().bytes;
        items.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    CommitGroup(std::move(items));
  }
}

void Committer::CommitGroup(std::vector<Item> items) {
  std::vector<Record> records;
  size_t bytes = 0;
  size_t snapshots = 0;
  if (hooks_.snapshot && store_->WantsSnapshot()) {
    std::optional<Record> snapshot = hooks_.snapshot();
    // A start can do without: it looks further back.
    if (snapshot.has_value() &&
        snapshot->body.size() > limits::kMaxRecordBody_bytes) {
      base::LogLine(base::Severity::kError, "a snapshot is over the limit",
                    {{"bytes", absl::StrCat(snapshot->body.size())}});
      snapshot.reset();
    }
    if (snapshot.has_value()) {
      records.push_back(*std::move(snapshot));
      snapshots = 1;
    }
  }
  std::vector<size_t> counts;
  for (Item& item : items) {
    bytes += item.bytes;
    counts.push_back(item.records.size());
    std::move(item.records.begin(), item.records.end(),
              std::back_inserter(records));
  }
  const absl::StatusOr<std::vector<Position>> positions =
      AppendWhenSpace(records);
  if (positions.ok()) {
    if (hooks_.on_record) {
      for (size_t i = snapshots; i < records.size(); ++i) {
        hooks_.on_record(records[i], (*positions)[i]);
      }
    }
    if (hooks_.on_durable) hooks_.on_durable(store_->durable_end());
  }

  {
    base::MutexLock lock(&mutex_);
    queued_bytes_ -= bytes;
    size_t next = snapshots;
    for (size_t i = 0; i < items.size(); ++i) {
      if (positions.ok()) {
        finished_.push_back(
            {std::move(items[i].done),
             std::vector<Position>(positions->begin() + next,
                                   positions->begin() + next + counts[i])});
        next += counts[i];
      } else {
        finished_.push_back({std::move(items[i].done), positions.status()});
      }
    }
    finished_work_.NotifyOne();
  }
}

absl::StatusOr<std::vector<Position>> Committer::AppendWhenSpace(
    const std::vector<Record>& records) {
  for (;;) {
    {
      base::MutexLock lock(&mutex_);
      // Nothing may overtake what has failed.
      if (!failed_.ok()) return failed_;
      busy_since_ = clock_->Monotonic();
    }
    absl::StatusOr<std::vector<Position>> positions = store_->Append(records);
    base::MutexLock lock(&mutex_);
    busy_since_.reset();
    if (positions.ok()) {
      if (!no_space_.ok()) watch_.NotifyAll();
      no_space_ = absl::OkStatus();
      return positions;
    }
    if (!absl::IsResourceExhausted(positions.status())) {
      return FailForGood(positions.status());
    }
    if (no_space_.ok()) watch_.NotifyAll();
    no_space_ = positions.status();
    // Woken early only by a stop, so that a full disk is not asked all the
    // time.
    const absl::Duration again = Monotonic() + limits::kNoSpaceRetry;
    while (waits_for_space_ && Monotonic() < again) {
      space_wait_.WaitWithTimeout(&mutex_, again - Monotonic());
    }
    if (!waits_for_space_) return FailForGood(no_space_);
  }
}

absl::Status Committer::FailForGood(const absl::Status& status) {
  // Not by a code that says something else in health().
  failed_ = absl::UnavailableError(status.message());
  watch_.NotifyAll();
  return failed_;
}

void Committer::WatchLoop() {
  absl::Status told;
  for (;;) {
    absl::Status health;
    bool last = false;
    {
      base::MutexLock lock(&mutex_);
      health = HealthLocked();
      last = stop_watching_;
      if (health.code() == told.code()) {
        if (last) return;
        watch_.WaitWithTimeout(&mutex_, limits::kHealthCheck);
        continue;
      }
    }
    told = health;
    if (health.ok()) {
      if (hooks_.on_healthy) hooks_.on_healthy();
    } else if (hooks_.on_unhealthy) {
      hooks_.on_unhealthy(health);
    }
  }
}

void Committer::NotifyLoop() {
  for (;;) {
    std::deque<Finished> finished;
    {
      base::MutexLock lock(&mutex_);
      while (finished_.empty() && !committed_all_) finished_work_.Wait(&mutex_);
      if (finished_.empty()) return;
      finished.swap(finished_);
    }
    for (const Finished& item : finished) {
      if (item.done) item.done(item.result);
    }
  }
}

}  // namespace diptych::log
