#include "tools/gateway/source_queue.h"

#include <cstddef>
#include <optional>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {
namespace {

size_t SizeOf(const SourceItem& item) {
  const auto* const packet = std::get_if<api::v1::Packet>(&item);
  return packet == nullptr ? 0 : packet->payload().size();
}

}  // namespace

SourceQueue::SourceQueue(MediaSource* source) : source_(source) {
  reader_ = std::thread([this] { ReadAll(); });
}

SourceQueue::~SourceQueue() {
  Stop();
  reader_.join();
}

bool SourceQueue::IsFull() const {
  return items_.size() >= limits::kSourceQueue_packets ||
         bytes_ >= limits::kSourceQueue_bytes;
}

void SourceQueue::ReadAll() {
  while (true) {
    {
      base::MutexLock lock(&mutex_);
      while (IsFull() && !stopped_) changed_.Wait(&mutex_);
      if (stopped_) break;
    }
    std::optional<SourceItem> item = source_->Next();
    base::MutexLock lock(&mutex_);
    if (!item.has_value() || stopped_) break;
    bytes_ += SizeOf(*item);
    items_.push_back(*std::move(item));
    changed_.NotifyAll();
  }
  base::MutexLock lock(&mutex_);
  ended_ = true;
  changed_.NotifyAll();
}

const SourceItem* SourceQueue::Front() const {
  base::MutexLock lock(&mutex_);
  return items_.empty() ? nullptr : &items_.front();
}

SourceItem SourceQueue::Pop() {
  base::MutexLock lock(&mutex_);
  SourceItem item = std::move(items_.front());
  items_.pop_front();
  bytes_ -= SizeOf(item);
  changed_.NotifyAll();
  return item;
}

bool SourceQueue::finished() const {
  base::MutexLock lock(&mutex_);
  return ended_ && items_.empty();
}

void SourceQueue::Wait(absl::Duration timeout) {
  base::MutexLock lock(&mutex_);
  if (items_.empty() && !ended_) changed_.WaitWithTimeout(&mutex_, timeout);
}

void SourceQueue::Stop() {
  base::MutexLock lock(&mutex_);
  stopped_ = true;
  items_.clear();
  bytes_ = 0;
  changed_.NotifyAll();
}

}  // namespace diptych::gateway
