#include "archiver/ingest/session_registry.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <google/protobuf/util/time_util.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/base/latency.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/receipt.h"
#include "archiver/ingest/receipt_desk.h"
#include "archiver/ingest/request_check.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_state.h"
#include "archiver/ingest/unfinished_session.h"
#include "archiver/log/committer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

using google::protobuf::util::TimeUtil;
using log::Record;

// What protobuf's Timestamp can hold from 1970 on.
bool IsPlausible(const google::protobuf::Timestamp& time) {
  constexpr int64_t kEndOf9999_s = 253'402'300'799;
  return time.seconds() >= 0 && time.seconds() <= kEndOf9999_s &&
         time.nanos() >= 0 && time.nanos() < 1'000'000'000;
}

}  // namespace

SessionRegistry::SessionRegistry(log::OpenSessions recovered)
    : log_sessions_(std::move(recovered)) {}

SessionRegistry::~SessionRegistry() { StopTicking(); }

void SessionRegistry::StopTicking() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    stop_changed_.NotifyAll();
  }
  if (tick_thread_.joinable()) tick_thread_.join();
}

std::optional<Record> SessionRegistry::MakeSnapshot() {
  base::MutexLock lock(&log_mutex_);
  return log_sessions_.MakeSnapshot(absl::ToUnixMicros(context_->clock->Now()));
}

void SessionRegistry::OnRecord(const Record& record, log::Position position) {
  base::MutexLock lock(&log_mutex_);
  const absl::Status applied =
      log_sessions_.Apply(record.type, record.header, record.body, position);
  if (!applied.ok()) {
    base::LogLine(base::Severity::kError, "a record does not fit the log",
                  {{"type", log::RecordTypeName(record.type)},
                   {"error", absl::string_view(applied.message())}});
  }
}

absl::Status SessionRegistry::Start(SessionContext* context,
                                    const log::LogReader& log) {
  context_ = context;
  log_ = &log;
  // Gateways get their time to come back first, however long the stop was.
  next_abandon_check_ = context_->clock->Monotonic() + limits::kAbandonAfter;
  next_orphan_check_ = context_->clock->Monotonic() + limits::kSideStalled;
  std::vector<stored::v1::OpenSession> unfinished;
  {
    base::MutexLock lock(&log_mutex_);
    for (const auto& [id, session] : log_sessions_.open()) {
      if (!session.pending_chunks().empty()) unfinished.push_back(session);
    }
  }
  for (const stored::v1::OpenSession& session : unfinished) {
    RETURN_IF_ERROR(Finish(session, log));
  }
  RETURN_IF_ERROR(context_->log->SubmitAndWait({}).status());
  tick_thread_ = std::thread([this] { TickLoop(); });
  return absl::OkStatus();
}

absl::Status SessionRegistry::Finish(const stored::v1::OpenSession& session,
                                     const log::LogReader& log) {
  UnfinishedSession unfinished = ReadUnfinished(session, log);
  std::vector<Record> manifests = CompleteManifests(
      &unfinished, log, absl::ToUnixMicros(context_->clock->Now()));
  absl::Status submitted = context_->log->Submit(manifests, nullptr);
  if (absl::IsResourceExhausted(submitted)) {
    // Many sessions at once: let the disk take what is queued.
    RETURN_IF_ERROR(context_->log->SubmitAndWait({}).status());
    submitted = context_->log->Submit(std::move(manifests), nullptr);
  }
  if (absl::IsInternal(submitted)) {
    base::LogLine(base::Severity::kError, "a manifest cannot be completed",
                  {{"session", base::Uuid::FromBytes(session.session_id())
                                   .value_or(base::Uuid())
                                   .ToString()},
                   {"error", absl::string_view(submitted.message())}});
    return absl::OkStatus();
  }
  return submitted;
}

absl::StatusOr<std::variant<std::shared_ptr<Session>, api::v1::Receipt>>
SessionRegistry::Open(const std::shared_ptr<StreamSink>& sink,
                      const api::v1::Open& open, const std::string& gateway) {
  const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(open.session_id());
  if (!id.ok()) return BadSessionId();
  RETURN_IF_ERROR(CheckOpen(open));
  int64_t start_time_us = absl::ToUnixMicros(context_->clock->Now());
  if (open.has_start_time()) {
    if (!IsPlausible(open.start_time())) {
      return BadOpen("start_time is not a time between 1970 and 9999");
    }
    start_time_us = TimeUtil::TimestampToMicroseconds(open.start_time());
  }

  std::shared_ptr<Session> session;
  std::optional<stored::v1::OpenSession> before;
  {
    base::MutexLock lock(&mutex_);
    if (draining_) return ingest::Draining();
    const auto living = sessions_.find(*id);
    if (unsettled_.contains(*id) ||
        (living != sessions_.end() && living->second->failed() &&
         !living->second->settled())) {
      return Settling();
    }
    if (living != sessions_.end() && !living->second->failed()) {
      session = living->second;
    } else {
      std::optional<stored::v1::ClosedSession> closed;
      {
        base::MutexLock log_lock(&log_mutex_);
        if (const auto* found = log_sessions_.FindClosed(*id)) closed = *found;
        const auto found = log_sessions_.open().find(*id);
        if (found != log_sessions_.open().end()) before = found->second;
      }
      if (closed.has_value()) {
        ASSIGN_OR_RETURN(const log::StoredRecord record,
                         log_->Read(closed->position()));
        return MakeReceipt(context_->archive->archive_id(),
                           closed->start_time_us(), record.header,
                           closed->position());
      }
      if (before.has_value()) {
        unsettled_.insert(*id);
      } else {
        RETURN_IF_ERROR(Admit());
        ASSIGN_OR_RETURN(session,
                         CreateSession(*id, start_time_us, gateway, nullptr));
      }
    }
  }
  if (before.has_value()) {
    ASSIGN_OR_RETURN(session, GoOn(*id, *before, gateway));
  }
  RETURN_IF_ERROR(session->Attach(sink, open));
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::CreateSession(
    const base::Uuid& id, int64_t start_time_us, const std::string& gateway,
    const UnfinishedSession* before) {
  ASSIGN_OR_RETURN(
      std::shared_ptr<Session> session,
      Session::Create(context_, id, start_time_us, gateway, before,
                      [this](const base::Uuid& closed) { Forget(closed); }));
  sessions_[id] = session;
  said_degraded_.erase(id);
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::GoOn(
    const base::Uuid& id, const stored::v1::OpenSession& before,
    const std::string& gateway) {
  // From the disk, and so without the lock.
  UnfinishedSession unfinished = ReadUnfinished(before, *log_);
  std::vector<Record> manifests = CompleteManifests(
      &unfinished, *log_, absl::ToUnixMicros(context_->clock->Now()));
  base::MutexLock lock(&mutex_);
  Settle(id);
  if (draining_) return ingest::Draining();
  // Ahead of whatever the next actor writes.
  if (!manifests.empty()) {
    RETURN_IF_ERROR(SubmitUnsettled(id, std::move(manifests)));
  }
  // A session that is open already goes on whatever happens.
  return CreateSession(id, before.start_time_us(), gateway, &unfinished);
}

absl::Status SessionRegistry::SubmitUnsettled(const base::Uuid& id,
                                              std::vector<Record> records) {
  unsettled_.insert(id);
  const absl::Status submitted = context_->log->Submit(
      std::move(records),
      [this, id](const absl::StatusOr<std::vector<log::Position>>&) {
        base::MutexLock lock(&mutex_);
        Settle(id);
      });
  if (!submitted.ok()) Settle(id);
  return submitted;
}

void SessionRegistry::Settle(const base::Uuid& id) {
  const auto found = unsettled_.find(id);
  if (found != unsettled_.end()) unsettled_.erase(found);
}

void SessionRegistry::GiveReceipt(
    api::v1::Receipt receipt, const std::shared_ptr<StreamSink>& sink) const {
  ingest::GiveReceipt(context_->prover, std::move(receipt), {sink});
}

absl::Status SessionRegistry::Admit() const {
  if (sessions_.size() >= limits::kMaxOpenSessions) return TooManySessions();
  if (context_->undurable_bytes.load(std::memory_order_relaxed) >
      limits::kAdmissionUndurable_bytes) {
    return Overloaded();
  }
  return context_->admit ? context_->admit() : absl::OkStatus();
}

void SessionRegistry::ForgetFailed(const std::shared_ptr<Session>& session) {
  base::MutexLock lock(&mutex_);
  const auto found = sessions_.find(session->id());
  // Another actor may have taken its place.
  if (found != sessions_.end() && found->second == session) {
    sessions_.erase(found);
  }
}

void SessionRegistry::Forget(const base::Uuid& id) {
  base::MutexLock lock(&mutex_);
  sessions_.erase(id);
}

std::vector<std::shared_ptr<Session>> SessionRegistry::Sessions() {
  base::MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<Session>> sessions;
  sessions.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) sessions.push_back(session);
  return sessions;
}

void SessionRegistry::TickLoop() {
  for (;;) {
    {
      base::MutexLock lock(&mutex_);
      if (stopping_) return;
      stop_changed_.WaitWithTimeout(&mutex_, limits::kTick);
      if (stopping_) return;
    }
    Tick();
  }
}

void SessionRegistry::Tick() {
  for (const std::shared_ptr<Session>& session : Sessions()) {
    session->Tick();
    if (session->failed() && session->settled()) ForgetFailed(session);
  }
  const absl::Duration now = context_->clock->Monotonic();
  if (now >= next_orphan_check_) {
    next_orphan_check_ = now + absl::Seconds(1);
    DegradeOrphans();
  }
  if (now < next_abandon_check_) return;
  next_abandon_check_ = now + absl::Minutes(1);
  CloseAbandoned();
}

void SessionRegistry::DegradeOrphans() {
  const int64_t now_us = absl::ToUnixMicros(context_->clock->Now());
  base::MutexLock lock(&mutex_);
  if (draining_) return;
  std::vector<Record> records;
  std::vector<base::Uuid> degraded;
  {
    base::MutexLock log_lock(&log_mutex_);
    for (const auto& [id, session] : log_sessions_.open()) {
      if (sessions_.contains(id) || unsettled_.contains(id) ||
          session.state() == stored::v1::SESSION_STATE_DEGRADED ||
          !said_degraded_.insert(id).second) {
        continue;
      }
      StateChange change = {.session_id = id,
                            .epoch = session.epoch(),
                            .state = stored::v1::SESSION_STATE_DEGRADED,
                            .troubles = {},
                            .start_time_us = session.start_time_us(),
                            .now_us = now_us};
      for (const stored::v1::Side side :
           {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK}) {
        stored::v1::SideTrouble& trouble = change.troubles.emplace_back();
        trouble.set_side(side);
        trouble.set_trouble(stored::v1::TROUBLE_MISSING);
        for (const stored::v1::SideTotals& totals : session.sides()) {
          if (totals.side() != side || totals.packets() == 0) continue;
          trouble.set_trouble(stored::v1::TROUBLE_STALLED);
          trouble.set_since_us(totals.end_us());
        }
      }
      records.push_back(MakeStateRecord(change));
      degraded.push_back(id);
    }
  }
  if (records.empty()) return;
  // Until the log has them, no actor can name them in a manifest.
  unsettled_.insert(degraded.begin(), degraded.end());
  const absl::Status submitted = context_->log->Submit(
      std::move(records),
      [this, degraded](const absl::StatusOr<std::vector<log::Position>>&) {
        base::MutexLock done_lock(&mutex_);
        for (const base::Uuid& id : degraded) Settle(id);
      });
  if (!submitted.ok()) {
    for (const base::Uuid& id : degraded) Settle(id);
    // The disk has failed or is behind, which is said elsewhere.
    said_degraded_.clear();
    next_orphan_check_ += limits::kOrphanRetry;
  }
}

void SessionRegistry::CloseAbandoned() {
  const int64_t now_us = absl::ToUnixMicros(context_->clock->Now());
  std::vector<std::pair<base::Uuid, stored::v1::OpenSession>> abandoned;
  {
    base::MutexLock lock(&mutex_);
    base::MutexLock log_lock(&log_mutex_);
    for (const auto& [id, session] : log_sessions_.open()) {
      if (sessions_.contains(id) || unsettled_.contains(id) ||
          now_us - session.last_record_time_us() <
              absl::ToInt64Microseconds(limits::kAbandonAfter)) {
        continue;
      }
      // Until it is in the log, nobody may open the session anew.
      unsettled_.insert(id);
      abandoned.emplace_back(id, session);
    }
  }
  for (const auto& [id, session] : abandoned) {
    UnfinishedSession unfinished = ReadUnfinished(session, *log_);
    std::vector<Record> records = CompleteManifests(&unfinished, *log_, now_us);
    records.push_back(AbandonedRecord(unfinished, now_us));
    base::MutexLock lock(&mutex_);
    Settle(id);
    said_degraded_.erase(id);
    // If the queue is full, the next round tries again.
    SubmitUnsettled(id, std::move(records)).IgnoreError();
  }
}

void SessionRegistry::Drain(absl::Duration timeout) {
  {
    base::MutexLock lock(&mutex_);
    draining_ = true;
  }
  const std::vector<std::shared_ptr<Session>> sessions = Sessions();
  for (const auto& session : sessions) session->Drain();
  // The commits are queued; whatever is submitted now is durable after them.
  const absl::Duration deadline = context_->clock->Monotonic() + timeout;
  for (const auto& session : sessions) {
    while (!session->drained()) {
      const absl::Duration left = deadline - context_->clock->Monotonic();
      if (left <= absl::ZeroDuration()) break;
      if (!context_->log->SubmitAndWait({}, left).ok()) return;
      // What is not in the log's queue yet waits for the key store.
      base::MutexLock lock(&mutex_);
      if (!session->drained()) {
        stop_changed_.WaitWithTimeout(&mutex_, std::min(left, limits::kTick));
      }
    }
  }
  const base::LatencyHistogram& latency = context_->cut_to_durable;
  const auto milliseconds = [&](double share) {
    return absl::StrFormat("%.3f",
                           absl::ToDoubleMilliseconds(latency.Quantile(share)));
  };
  base::LogLine(base::Severity::kInfo, "sessions are drained",
                {{"sessions", absl::StrCat(sessions.size())},
                 {"commits", absl::StrCat(latency.count())},
                 {"cut_to_durable_p50_ms", milliseconds(0.5)},
                 {"cut_to_durable_p99_ms", milliseconds(0.99)},
                 {"old_replays", absl::StrCat(context_->old_replays.load())}});
}

}  // namespace diptych::ingest
