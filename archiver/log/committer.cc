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
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"

namespace diptych::log {

Committer::Committer(LogStore* store, Hooks hooks)
    : store_(store),
      hooks_(std::move(hooks)),
      commit_thread_([this] { CommitLoop(); }),
      notify_thread_([this] { NotifyLoop(); }) {}

Committer::~Committer() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    work_.NotifyAll();
  }
  commit_thread_.join();
  notify_thread_.join();
}

absl::Status Committer::Submit(std::vector<Record> records, Done done) {
  Item item;
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
    std::vector<Record> records) {
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
  base::MutexLock lock(&waiter->mutex);
  while (!waiter->result.has_value()) waiter->ready.Wait(&waiter->mutex);
  return *waiter->result;
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
    if (std::optional<Record> snapshot = hooks_.snapshot()) {
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
      store_->Append(records);
  if (positions.ok()) {
    if (hooks_.on_record) {
      for (size_t i = snapshots; i < records.size(); ++i) {
        hooks_.on_record(records[i], (*positions)[i]);
      }
    }
    if (hooks_.on_durable) hooks_.on_durable(store_->durable_end());
  }

  bool first_failure = false;
  {
    base::MutexLock lock(&mutex_);
    queued_bytes_ -= bytes;
    if (!positions.ok() && failed_.ok()) {
      failed_ = positions.status();
      first_failure = true;
    }
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
  if (first_failure && hooks_.on_failed) hooks_.on_failed(positions.status());
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
