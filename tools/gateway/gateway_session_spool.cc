// The spool's thread of a session: the only one that waits for the disk.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "tools/gateway/outbox.h"
#include "tools/gateway/spool.h"
#include "tools/gateway/streaming_session.h"

namespace diptych::gateway {
namespace {

absl::Duration Now() { return base::Clock::Real()->Monotonic(); }

// How much of a spool's end is looked through for what nobody has signed: some
// 10 s of media, and files are read whole.
constexpr uint64_t kTail_bytes = 2 * limits::kSpoolFile_bytes;

absl::StatusOr<SpoolTail> ReadTail(Spool* spool) {
  SpoolTail tail;
  for (const auto& [id, side] : spool->SeekToTail(kTail_bytes).sides) {
    const auto& tracks = side.tracks.tracks();
    tail[id].SetTracks({tracks.begin(), tracks.end()});
  }
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<SpoolItem> items, spool->ReadNext());
    if (items.empty()) break;
    TakeIntoTail(items, spool->state().renumberings, &tail);
  }
  spool->SeekTo(0);
  return tail;
}

}  // namespace

void StreamingSession::OpenSpool() {
  absl::Status status;
  spool_ = options_.opened_spool;
  if (spool_ == nullptr) {
    auto opened = Spool::Open(options_.spool, options_.session_id,
                              options_.sides, options_.start_time);
    status = opened.status();
    if (opened.ok()) spool_ = *std::move(opened);
  }
  if (status.ok() && spool_->recovered() && !options_.continues) {
    status = spool_->Discard(options_.sides, options_.start_time);
  }
  SpoolTail tail;
  if (status.ok() && spool_->recovered() && options_.source_signer != nullptr) {
    auto read = ReadTail(spool_.get());
    status = read.status();
    if (read.ok()) tail = *std::move(read);
  }
  if (status.ok()) damages_known_ = spool_->damages().size();
  base::MutexLock lock(&mutex_);
  if (status.ok() && options_.continues) {
    outbox_.Recover(spool_->oldest(), spool_->state(), std::move(tail));
    spool_->SetProvisional();
  }
  // Nothing was taken from anybody yet.
  if (!status.ok()) Fail(status);
  spool_ready_ = true;
  changed_.NotifyAll();
}

void StreamingSession::RunSpool() {
  OpenSpool();
  bool more = true;
  while (true) {
    bool stop = false;
    bool keep = true;
    {
      base::MutexLock lock(&mutex_);
      if (!spool_stop_ && !more) {
        spool_wanted_.WaitWithTimeout(&mutex_, limits::kSpoolTick);
      }
      stop = spool_stop_;
      keep = spool_keep_;
    }
    if (spool_ == nullptr) return;
    if (stop && !keep) {
      // Everything is durable: nobody needs it any more.
      spool_->Remove().IgnoreError();
      return;
    }
    WriteSpool(/*all=*/stop);
    if (stop) return;
    more = ReadSpool();
  }
}

bool StreamingSession::WriteSome(bool all, bool even_nothing,
                                 absl::Status* status) {
  std::vector<SpoolItem> items;
  std::vector<Renumbering> renumberings;
  std::vector<api::v1::SideProgress> durable;
  bool sync = false;
  {
    base::MutexLock lock(&mutex_);
    const bool full = outbox_.kept_bytes() > options_.buffer_bytes / 2;
    items = outbox_.Unwritten(
        all || full ? absl::InfiniteDuration() : Now() - limits::kSpoolAfter,
        limits::kSpoolWrite_bytes);
    renumberings = outbox_.renumberings();
    for (const auto& [side, counters] : outbox_.counters()) {
      durable.push_back(outbox_.durable(side));
    }
    for (const auto& [side, failure] : side_failures_) {
      spool_->ForgetSide(side);
    }
    sync = all || full || Now() >= spool_synced_ + limits::kSpoolSync;
  }
  // First, as items and what is durable have numbers that know of them.
  *status = spool_->AddRenumberings(renumberings);
  const bool renumbered = status->ok();
  if (renumbered) {
    for (const auto& progress : durable) spool_->MarkDurable(progress);
    if (even_nothing || !items.empty()) *status = spool_->Append(items);
  }
  const bool appended = status->ok();
  bool safe = true;
  if (sync || !appended) {
    const absl::Status synced = spool_->Sync();
    safe = synced.ok();
    status->Update(synced);
    spool_synced_ = Now();
  }

  base::MutexLock lock(&mutex_);
  if (renumbered) outbox_.MarkRenumbered(renumberings.size());
  renumbering_ = outbox_.has_renumberings();
  if (appended && safe) outbox_.MarkAppended(items);
  if (!safe) {
    outbox_.MarkLost();
  } else if (sync || !appended) {
    outbox_.MarkSynced();
  }
  if (outbox_.kept_bytes() > options_.buffer_bytes / 2) {
    outbox_.Evict(options_.buffer_bytes / 2);
  }
  changed_.NotifyAll();
  return !items.empty();
}

void StreamingSession::WriteSpool(bool all) {
  if (Now() < spool_retry_ && !all) return;
  absl::Status status;
  // Once at least, so that the folder says which session it is.
  bool first = spool_->bytes() == 0;
  while (WriteSome(all, first, &status) && status.ok()) first = false;
  // Numbers that the disk does not know yet say nothing of what it holds.
  if (status.ok()) spool_->Trim();
  base::MutexLock lock(&mutex_);
  spool_bytes_ = spool_->bytes();
  spool_status_ = status;
  if (!status.ok()) spool_retry_ = Now() + limits::kSpoolRetry;
  changed_.NotifyAll();
}

bool StreamingSession::ReadSpool() {
  {
    base::MutexLock lock(&mutex_);
    if (!outbox_.WantsRefill(options_.buffer_bytes / 8)) return false;
    if (const auto order = outbox_.TakeSeek()) spool_->SeekTo(*order);
  }
  auto items = spool_->ReadNext();
  base::MutexLock lock(&mutex_);
  if (!items.ok()) {
    Fail(items.status());
    return false;
  }
  if (spool_->damages().size() > damages_known_) {
    damages_known_ = spool_->damages().size();
    spool_damage_ = base::IntegrityError(spool_->damages().back());
  }
  if (const absl::Status status = outbox_.Refill(*std::move(items), Now());
      !status.ok()) {
    Fail(status);
    return false;
  }
  changed_.NotifyAll();
  return true;
}

}  // namespace diptych::gateway
