#include "tools/diptych/check/record_feed.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
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
constexpr size_t kBatch_items = 256;
// What was read is hashed while it is in the processor's own cache.
constexpr size_t kBodies_bytes = 256 << 10;
// Where bodies are passed over, the next frame is most often alone.
constexpr size_t kFrames_bytes = 16 << 10;

int Threads(int wanted) {
  return std::clamp(wanted, 1, limits::kMaxCheckThreads);
}

}  // namespace

std::string ReadRecord::Digest() const {
  if (body != Body::kWhole) return "";
  return evidence::RecordDigestOf(record.type, record.header, body_sha256);
}

RecordFeed::RecordFeed(const log::LogReader* reader,
                       const std::vector<log::VolumeInfo>& volumes,
                       Options options)
    : reader_(reader),
      options_(std::move(options)),
      max_queued_bytes_(limits::kCheckQueue_bytes /
                        static_cast<size_t>(Threads(options_.threads))) {
  {
    base::MutexLock lock(&mutex_);
    for (const log::VolumeInfo& info : volumes) {
      volumes_.emplace_back().info = info;
    }
  }
  for (int i = 0; i < Threads(options_.threads); ++i) {
    threads_.emplace_back([this] { Work(); });
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

void RecordFeed::Work() {
  for (;;) {
    Volume* volume = nullptr;
    {
      base::MutexLock lock(&mutex_);
      if (stopped_ || next_to_read_ == volumes_.size()) return;
      // Nothing is put into the vector any more.
      volume = &volumes_[next_to_read_++];
    }
    const absl::Status end = Read(volume);
    base::MutexLock lock(&mutex_);
    volume->end = end;
    volume->read_all = true;
    changed_.NotifyAll();
  }
}

absl::Status RecordFeed::Pass(Volume* volume, Batch* batch) {
  if (batch->items.empty()) return absl::OkStatus();
  base::MutexLock lock(&mutex_);
  while (volume->queued_bytes >= max_queued_bytes_ && !stopped_) {
    changed_.Wait(&mutex_);
  }
  if (stopped_) return absl::CancelledError("nobody reads on");
  volume->queued_bytes += batch->bytes;
  volume->queue.push_back(std::exchange(*batch, Batch()));
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status RecordFeed::Add(Volume* volume, Item item, size_t bytes,
                             Batch* batch) {
  batch->items.push_back(std::move(item));
  batch->bytes += bytes;
  if (batch->bytes < kBatch_bytes && batch->items.size() < kBatch_items) {
    return absl::OkStatus();
  }
  return Pass(volume, batch);
}

absl::Status RecordFeed::Read(Volume* volume) {
  Batch batch;
  // Of the record that comes next; a body is shown before its record.
  ReadRecord next;
  log::RecordType type = log::RecordType::kSnapshot;
  const log::LogReader::ScanOptions scan = {
      .from = volume->info.base,
      .until = volume->info.base + volume->info.size_bytes,
      .wants_body =
          [&](log::RecordType of, log::Position position) {
            type = of;
            return options_.reads_body(of, position);
          },
      .on_body =
          [&](absl::string_view body, bool whole) {
            next.body =
                whole ? ReadRecord::Body::kWhole : ReadRecord::Body::kDamaged;
            next.body_bytes = body.size();
            if (!whole) return false;
            next.body_sha256 = base::Sha256(body);
            return options_.keeps_body(type);
          },
      .block_bytes = options_.most_bodies ? kBodies_bytes : kFrames_bytes};
  absl::Status end =
      reader_
          ->Scan(
              scan,
              [&](log::StoredRecord&& record) {
                ReadRecord read = std::exchange(next, ReadRecord());
                const size_t bytes =
                    sizeof(Item) + record.header.size() + record.body.size();
                read.record = std::move(record);
                type = log::RecordType::kSnapshot;
                return Add(volume, std::move(read), bytes, &batch);
              },
              [&](const log::Damage& damage) {
                next = ReadRecord();
                return Add(volume, damage, sizeof(Item), &batch);
              })
          .status();
  const absl::Status passed = Pass(volume, &batch);
  return end.ok() ? passed : end;
}

absl::StatusOr<std::vector<RecordFeed::Item>> RecordFeed::Next() {
  base::MutexLock lock(&mutex_);
  while (next_to_take_ < volumes_.size()) {
    Volume& volume = volumes_[next_to_take_];
    if (!volume.queue.empty()) {
      Batch batch = std::move(volume.queue.front());
      volume.queue.pop_front();
      volume.queued_bytes -= batch.bytes;
      changed_.NotifyAll();
      return std::move(batch.items);
    }
    if (!volume.read_all) {
      changed_.Wait(&mutex_);
      continue;
    }
    RETURN_IF_ERROR(volume.end);
    ++next_to_take_;
  }
  return std::vector<Item>();
}

}  // namespace diptych::check
