#include "tools/diptych/check/record_feed.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::check {
namespace {

// Handed over together, so that small records cost no lock each.
constexpr size_t kBatch_bytes = 1 << 20;
constexpr size_t kBatch_items = 1024;
// Where bodies are passed over, the next frame is most often alone.
constexpr size_t kFrames_bytes = 16 << 10;

}  // namespace

std::string ReadRecord::Digest() const {
  if (body != Body::kWhole) return "";
  return evidence::RecordDigestOf(record.type, record.header, body_sha256);
}

RecordFeed::RecordFeed(const log::LogReader* reader, Options options)
    : reader_(reader),
      options_(std::move(options)),
      batch_(std::make_unique<Batch>()) {
  const int hashers = std::clamp(options_.threads, 1, limits::kMaxCheckThreads);
  threads_.emplace_back([this] { Read(); });
  for (int i = 0; i < hashers; ++i) {
    threads_.emplace_back([this] { Hash(); });
  }
}

RecordFeed::~RecordFeed() {
  {
    base::MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status RecordFeed::Pass() {
  if (batch_->items.empty()) return absl::OkStatus();
  base::MutexLock lock(&mutex_);
  while (queued_bytes_ >= limits::kCheckQueue_bytes && !stopped_) {
    changed_.Wait(&mutex_);
  }
  if (stopped_) return absl::CancelledError("nobody reads on");
  queued_bytes_ += batch_->bytes;
  to_hash_.push_back(batch_.get());
  queue_.push_back(std::move(batch_));
  batch_ = std::make_unique<Batch>();
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status RecordFeed::Add(Item item, size_t bytes) {
  batch_->items.push_back(std::move(item));
  batch_->bytes += bytes;
  if (batch_->bytes < kBatch_bytes && batch_->items.size() < kBatch_items) {
    return absl::OkStatus();
  }
  return Pass();
}

void RecordFeed::Read() {
  const auto wanted = [this](log::RecordType type, log::Position position) {
    return options_.wants_body(type, position);
  };
  const auto add = [this](log::StoredRecord&& record, ReadRecord::Body body) {
    ReadRecord read;
    read.body = body;
    const size_t bytes =
        sizeof(Item) + record.header.size() + record.body.size();
    read.record = std::move(record);
    return Add(std::move(read), bytes);
  };
  absl::Status end =
      reader_
          ->Scan(
              {.wants_body = wanted,
               .on_damaged_body =
                   [&](log::StoredRecord&& record) {
                     return add(std::move(record), ReadRecord::Body::kDamaged);
                   },
               .block_bytes = options_.most_bodies ? limits::kScanBodies_bytes
                                                   : kFrames_bytes},
              [&](log::StoredRecord&& record) {
                const bool read = record.type == log::RecordType::kSnapshot ||
                                  wanted(record.type, record.position);
                return add(std::move(record), read
                                                  ? ReadRecord::Body::kWhole
                                                  : ReadRecord::Body::kNotRead);
              },
              [&](const log::Damage& damage) {
                return Add(damage, sizeof(Item));
              })
          .status();
  const absl::Status passed = Pass();
  if (end.ok()) end = passed;
  base::MutexLock lock(&mutex_);
  end_ = end;
  read_all_ = true;
  changed_.NotifyAll();
}

void RecordFeed::Hash() {
  for (;;) {
    Batch* batch = nullptr;
    {
      base::MutexLock lock(&mutex_);
      while (to_hash_.empty() && !read_all_ && !stopped_) {
        changed_.Wait(&mutex_);
      }
      if (stopped_ || to_hash_.empty()) return;
      batch = to_hash_.front();
      to_hash_.pop_front();
    }
    for (Item& item : batch->items) {
      auto* const read = std::get_if<ReadRecord>(&item);
      if (read == nullptr || read->body != ReadRecord::Body::kWhole) continue;
      read->body_sha256 = base::Sha256(read->record.body);
    }
    base::MutexLock lock(&mutex_);
    batch->hashed = true;
    changed_.NotifyAll();
  }
}

absl::StatusOr<std::vector<RecordFeed::Item>> RecordFeed::Next() {
  base::MutexLock lock(&mutex_);
  while (queue_.empty() ? !read_all_ : !queue_.front()->hashed) {
    changed_.Wait(&mutex_);
  }
  if (queue_.empty()) {
    RETURN_IF_ERROR(end_);
    return std::vector<Item>();
  }
  const std::unique_ptr<Batch> batch = std::move(queue_.front());
  queue_.pop_front();
  queued_bytes_ -= batch->bytes;
  changed_.NotifyAll();
  return std::move(batch->items);
}

}  // namespace diptych::check
