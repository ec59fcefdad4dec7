#include "indexer/builder/rebuild_worker.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/disk_room.h"
#include "indexer/builder/opener_cache.h"
#include "indexer/builder/session_record.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/family.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

// Values that it remembers to have written; said again they cost a little.
constexpr size_t kRememberedWords = 100'000;

size_t BytesOf(const std::vector<RebuildTask>& tasks) {
  size_t bytes = 0;
  for (const RebuildTask& task : tasks) {
    bytes += task.record.header.size() + task.record.body.size();
  }
  return bytes;
}

}  // namespace

RebuildWorker::RebuildWorker(const seal::IndexKeys* keys,
                             std::unique_ptr<OpenerCache> openers,
                             std::string path, const DiskRoom* room)
    : keys_(keys),
      openers_(std::move(openers)),
      writer_(std::move(path), 2 * limits::kRebuildSort_bytes, room) {
  thread_ = std::thread([this] { Run(); });
}

RebuildWorker::~RebuildWorker() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void RebuildWorker::Restore(FamilyRuns runs, uint64_t next_file) {
  writer_.Restore(std::move(runs), next_file);
}

absl::Status RebuildWorker::Give(std::vector<RebuildTask> tasks) {
  if (tasks.empty()) return absl::OkStatus();
  const size_t bytes = BytesOf(tasks);
  base::MutexLock lock(&mutex_);
  while (waiting_ > 0 && status_.ok() &&
         (waiting_ + tasks.size() > limits::kRebuildQueue_records ||
          waiting_bytes_ + bytes > limits::kRebuildQueue_bytes)) {
    changed_.Wait(&mutex_);
  }
  waiting_ += tasks.size();
  waiting_bytes_ += bytes;
  queue_.push_back(std::move(tasks));
  changed_.NotifyAll();
  return status_;
}

absl::Status RebuildWorker::Settle() {
  base::MutexLock lock(&mutex_);
  settling_ = true;
  changed_.NotifyAll();
  while (settling_) changed_.Wait(&mutex_);
  return status_;
}

void RebuildWorker::Run() {
  for (;;) {
    std::vector<RebuildTask> tasks;
    bool settle = false;
    {
      base::MutexLock lock(&mutex_);
      while (!stopping_ && queue_.empty() && !settling_) {
        changed_.Wait(&mutex_);
      }
      if (stopping_) return;
      settle = queue_.empty();
      if (!settle) {
        tasks = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    const size_t bytes = BytesOf(tasks);
    for (RebuildTask& task : tasks) Do(&task);
    const absl::Status status = settle ? writer_.Spill() : writer_.status();
    base::MutexLock lock(&mutex_);
    waiting_ -= tasks.size();
    waiting_bytes_ -= bytes;
    if (settle) settling_ = false;
    if (status_.ok()) status_ = status;
    changed_.NotifyAll();
  }
}

void RebuildWorker::Do(RebuildTask* task) {
  std::unique_ptr<Open>& open = open_[task->session];
  switch (task->kind) {
    case RebuildTask::Kind::kBegin:
      open = std::make_unique<Open>(
          Open{SessionState(keys_, task->session, task->number,
                            task->start_time_us, task->record.position),
               Counts()});
      if (task->opening_lost) open->state.MarkOpeningLost();
      return;
    case RebuildTask::Kind::kRecord:
      DoRecord(*task, open.get());
      return;
    case RebuildTask::Kind::kEpoch:
      open->state.AddEpoch(task->epoch, task->key_position);
      return;
    case RebuildTask::Kind::kMoveKeys:
      open->state.MoveKeys(task->epoch, task->key_position);
      openers_->Forget(task->session, task->epoch);
      return;
    case RebuildTask::Kind::kEnd:
      open->state.Flush(&writer_);
      writer_.EndSession(task->session);
      counts_.records.segments += open->counts.records.segments;
      counts_.records.unopened_records += open->counts.records.unopened_records;
      counts_.records.refused_tag_notes +=
          open->counts.records.refused_tag_notes;
      counts_.unreadable_headers += open->counts.unreadable_headers;
      open_.erase(task->session);
      return;
  }
}

void RebuildWorker::DoRecord(const RebuildTask& task, Open* open) {
  const std::optional<SessionRecord> parsed = ParseSessionRecord(task.record);
  if (!parsed.has_value()) {
    ++open->counts.unreadable_headers;
    return;
  }
  ApplySessionRecord(*parsed, task.record, openers_.get(), &open->state,
                     &writer_, &open->counts.records, [&](TagNotes notes) {
                       AddWords(notes, task.record.position);
                     });
}

void RebuildWorker::AddWords(TagNotes notes, log::Position position) {
  uint32_t place = 0;
  for (const stored::v1::TagNote* const note : notes) {
    if (IsPersonalKey(note->key())) continue;
    const std::string& key = note->key();
    for (const std::string& value : note->values()) {
      ++place;
      std::string word = key;
      word.push_back('\0');
      word += value;
      if (words_.contains(word)) continue;
      if (words_.size() >= kRememberedWords) words_.clear();
      words_.insert(std::move(word));
      const std::string row_key = DictionaryKey(*keys_, key, value);
      writer_.AddWord(
          position, place, row_key,
          keys_->SealRow(RowContext(Family::kDictionary, row_key), value));
    }
  }
}

}  // namespace diptych::indexer
