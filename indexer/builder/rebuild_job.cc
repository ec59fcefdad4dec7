#include "indexer/builder/rebuild_job.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/rebuild.h"
#include "indexer/store/index_store.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using Phase = RebuildProgress::Phase;

// Between two rebuilds that damage asks for.
constexpr absl::Duration kBetweenDamages = absl::Minutes(10);
// After one that has failed and is needed.
constexpr absl::Duration kAfterFailure = absl::Seconds(30);
// After one that found no room on the disk.
constexpr absl::Duration kAfterNoSpace = absl::Minutes(5);
// So much may be left to catch up with while the old index waits.
constexpr uint64_t kLastStep_bytes = 4 << 20;
// After so many steps the rest is taken however much it is.
constexpr int kMaxSteps = 20;
constexpr absl::Duration kPoll = absl::Milliseconds(50);
constexpr absl::Duration kLookForDamage = absl::Milliseconds(200);

// Of the whole rebuild, roughly: reading the log takes the most.
int Percent(const RebuildProgress& progress) {
  const double part = progress.total == 0
                          ? 0
                          : static_cast<double>(progress.done) /
                                static_cast<double>(progress.total);
  switch (progress.phase) {
    case Phase::kReading:
      return static_cast<int>(80 * part);
    case Phase::kWriting:
      return 80 + static_cast<int>(15 * part);
    case Phase::kCatchingUp:
      return 95 + static_cast<int>(4 * part);
  }
  return 0;
}

}  // namespace

RebuildJob::RebuildJob(Options options)
    : source_(std::move(options.source)),
      store_(options.store),
      follower_(options.follower),
      on_hopeless_(std::move(options.on_hopeless)),
      clock_(options.clock),
      builder_(std::move(options.builder)) {
  {
    base::MutexLock lock(&mutex_);
    unusable_ = options.unusable;
    if (unusable_) {
      due_ = clock_->Monotonic();
      news_.running = true;
    }
  }
  thread_ = std::thread([this] { Run(); });
}

RebuildJob::~RebuildJob() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
  // It uses the builder.
  follower_->Stop();
}

RebuildJob::News RebuildJob::Start() {
  base::MutexLock lock(&mutex_);
  // One that waits for its time begins now.
  if (!news_.running || due_.has_value()) due_ = clock_->Monotonic();
  news_.running = true;
  changed_.NotifyAll();
  return news_;
}

RebuildJob::News RebuildJob::news() const {
  base::MutexLock lock(&mutex_);
  return news_;
}

RebuildJob::News RebuildJob::WaitForOther(const News& seen,
                                          absl::Duration timeout) const {
  const absl::Duration deadline = clock_->Monotonic() + timeout;
  base::MutexLock lock(&mutex_);
  while (news_ == seen) {
    const absl::Duration left = deadline - clock_->Monotonic();
    if (left <= absl::ZeroDuration()) break;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return news_;
}

void RebuildJob::StopWaiting() {
  base::MutexLock lock(&mutex_);
  news_.stopped = true;
  changed_.NotifyAll();
}

std::string RebuildJob::trouble() const {
  base::MutexLock lock(&mutex_);
  if (!unusable_) return "";
  return absl::StrCat(
      "the index is being made again: ", Percent(news_.progress), " %");
}

bool RebuildJob::WaitForWork() {
  base::MutexLock lock(&mutex_);
  while (!stopping_) {
    const absl::Duration now = clock_->Monotonic();
    if (!news_.running && store_->damaged()) {
      due_ = last_end_.has_value() ? std::max(now, *last_end_ + kBetweenDamages)
                                   : now;
      news_.running = true;
      changed_.NotifyAll();
    }
    if (due_.has_value() && *due_ <= now) {
      due_.reset();
      return true;
    }
    changed_.WaitWithTimeout(&mutex_, kLookForDamage);
  }
  return false;
}

void RebuildJob::Run() {
  while (WaitForWork()) {
    base::LogLine(base::Severity::kInfo, "the index is being made again");
    absl::StatusOr<stored::v1::IndexState> result = Rebuild();
    bool hopeless = false;
    {
      base::MutexLock lock(&mutex_);
      if (stopping_ && !result.ok()) return;
      if (result.ok()) unusable_ = false;
      // Damage of the new one has to wait its time, as all damage does.
      const bool needed = !result.ok() && (unusable_ || store_->damaged());
      const bool no_space = absl::IsResourceExhausted(result.status());
      hopeless = !result.ok() && (stuck_ || (store_->damaged() && !no_space));
      last_end_ = clock_->Monotonic();
      ++news_.ended;
      news_.running = needed;
      news_.progress = RebuildProgress();
      news_.result = result;
      // Somebody may have asked for it anew while it ended.
      due_.reset();
      if (needed) {
        due_ = *last_end_ + (no_space ? kAfterNoSpace : kAfterFailure);
      }
      changed_.NotifyAll();
    }
    if (result.ok()) {
      base::LogLine(base::Severity::kInfo, "the index is new",
                    {{"position", absl::StrCat(result->position())},
                     {"sessions", absl::StrCat(result->sessions())}});
    } else {
      base::LogLine(base::Severity::kError, "the index could not be made again",
                    {{"error", result.status().message()}});
    }
    if (hopeless && on_hopeless_) on_hopeless_();
  }
}

absl::Status RebuildJob::Tell(const RebuildProgress& progress) {
  base::MutexLock lock(&mutex_);
  if (stopping_) return absl::CancelledError("the reader stops");
  if (news_.progress == progress) return absl::OkStatus();
  news_.progress = progress;
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::StatusOr<log::Position> RebuildJob::WaitForLogEnd() {
  for (;;) {
    const log::Position end = follower_->status().durable_end;
    if (end > 0) return end;
    base::MutexLock lock(&mutex_);
    if (stopping_) return absl::CancelledError("the reader stops");
    changed_.WaitWithTimeout(&mutex_, kPoll);
  }
}

absl::StatusOr<std::unique_ptr<IndexBuilder>> RebuildJob::MakeBuilder(
    IndexStore* store) const {
  IndexBuilder::Options options;
  options.archive_id = source_.archive_id;
  options.store = store;
  options.index_keys = source_.index_keys;
  options.log = source_.log;
  options.key_store = source_.key_store;
  for (const seal::KeyPair& key : *source_.recipient_keys) {
    options.recipient_keys.push_back(key.Clone());
  }
  options.clock = clock_;
  return IndexBuilder::Create(std::move(options));
}

absl::Status RebuildJob::CatchUp(IndexBuilder* builder) {
  LogPump pump(source_.log, builder, limits::kIndexBatch_records);
  const log::Position from = builder->position();
  for (int step = 0; step < kMaxSteps; ++step) {
    const log::Position end = follower_->status().durable_end;
    if (builder->position() >= end) break;
    RETURN_IF_ERROR(
        pump.PumpUntil(
                end,
                [&](log::Position done) {
                  return Tell({Phase::kCatchingUp, done - from, end - from});
                })
            .status());
    if (follower_->status().durable_end - end < kLastStep_bytes) break;
  }
  // From here on the old index stands still until the new one has its place.
  follower_->Pause();
  const LogFollower::Status status = follower_->status();
  const log::Position end = std::max(status.durable_end, status.consumed);
  return pump.PumpUntil(end, [](log::Position) { return absl::OkStatus(); })
      .status();
}

absl::StatusOr<stored::v1::IndexState> RebuildJob::Rebuild() {
  ASSIGN_OR_RETURN(const log::Position until, WaitForLogEnd());
  ASSIGN_OR_RETURN(std::unique_ptr<IndexGeneration> generation,
                   MakeGeneration(source_, until, store_,
                                  [&](const RebuildProgress& progress) {
                                    return Tell(progress);
                                  }));
  absl::Status status;
  {
    absl::StatusOr<std::unique_ptr<IndexBuilder>> builder =
        MakeBuilder(generation.get());
    status = builder.status();
    if (status.ok()) status = CatchUp(builder->get());
  }
  if (status.ok()) status = store_->SwitchTo(std::move(generation));
  absl::StatusOr<std::unique_ptr<IndexBuilder>> current =
      absl::CancelledError();
  if (status.ok()) {
    current = MakeBuilder(store_);
    status = current.status();
    stuck_ = !status.ok();
  }
  if (!status.ok()) {
    // It would leave the log no room.
    if (absl::IsResourceExhausted(status)) ClearFiles();
    bool goes_on = false;
    {
      base::MutexLock lock(&mutex_);
      goes_on = !unusable_ && !stuck_;
    }
    // The old one goes on, unless there is nothing to go on with.
    if (goes_on) {
      follower_->Pause();
      follower_->Resume(builder_.get());
    }
    return status;
  }
  // From Resume on the builder is the follower's.
  stored::v1::IndexState state = (*current)->state();
  follower_->Resume(current->get());
  builder_ = *std::move(current);
  // The new index has its place, whatever becomes of this.
  if (const absl::Status flushed = store_->Flush(); !flushed.ok()) {
    base::LogLine(base::Severity::kWarning, "the new index was not flushed",
                  {{"error", flushed.message()}});
  }
  ClearFiles();
  return state;
}

void RebuildJob::ClearFiles() const {
  const absl::Status cleared = ClearRebuildFiles(source_);
  if (cleared.ok()) return;
  base::LogLine(base::Severity::kWarning, "files of a rebuild are left",
                {{"error", cleared.message()}});
}

}  // namespace diptych::indexer
