#ifndef ARCHIVER_INGEST_SESSION_REGISTRY_H_
#define ARCHIVER_INGEST_SESSION_REGISTRY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/unfinished_session.h"
#include "archiver/log/committer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// All sessions of the writer: those with a living actor, and what the log says
// of the others. Thread-safe.
class SessionRegistry {
 public:
  // `recovered` is what a start found (log::RecoverOpenSessions).
  explicit SessionRegistry(log::OpenSessions recovered);
  ~SessionRegistry();

  // For the log's committer: keep what the log says up to date with the log.
  std::optional<log::Record> MakeSnapshot() ABSL_LOCKS_EXCLUDED(log_mutex_);
  void OnRecord(const log::Record& record, log::Position position)
      ABSL_LOCKS_EXCLUDED(log_mutex_);

  // Writes the manifests that the last stop left undone, then lets sessions in.
  // `context` and `log` must outlive this.
  absl::Status Start(SessionContext* context, const log::LogReader& log)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The session that `open` names, with `sink` attached to its sides; or the
  // receipt, if it was closed lately.
  absl::StatusOr<std::variant<std::shared_ptr<Session>, api::v1::Receipt>> Open(
      const std::shared_ptr<StreamSink>& sink, const api::v1::Open& open,
      const std::string& gateway) ABSL_LOCKS_EXCLUDED(mutex_);

  // Sends it to `sink` with its proof, and ends the stream.
  void GiveReceipt(api::v1::Receipt receipt,
                   const std::shared_ptr<StreamSink>& sink) const;

  // Ends the registry's own thread: no session is looked at any more.
  void StopTicking() ABSL_LOCKS_EXCLUDED(mutex_);

  // Lets no session in any more, and makes durable what has come. Returns once
  // that is done or `timeout` has passed.
  void Drain(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void TickLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  void Tick() ABSL_LOCKS_EXCLUDED(mutex_);
  // Why no new session can be let in.
  absl::Status Admit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sessions that are open and that no gateway has come back for.
  void DegradeOrphans() ABSL_LOCKS_EXCLUDED(mutex_, log_mutex_);
  void CloseAbandoned() ABSL_LOCKS_EXCLUDED(mutex_, log_mutex_);
  // Completes a session's manifests as far as the log can be read and takes
  // them. At a start alone.
  absl::Status Finish(const stored::v1::OpenSession& session,
                      const log::LogReader& log);
  absl::StatusOr<std::shared_ptr<Session>> CreateSession(
      const base::Uuid& id, int64_t start_time_us, const std::string& gateway,
      const UnfinishedSession* before) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // An actor for a session that is open and that none holds. REQUIRES: it is
  // unsettled.
  absl::StatusOr<std::shared_ptr<Session>> GoOn(
      const base::Uuid& id, const stored::v1::OpenSession& before,
      const std::string& gateway) ABSL_LOCKS_EXCLUDED(mutex_, log_mutex_);
  // Submits records of a session without actor; it is unsettled until they are
  // in the log.
  absl::Status SubmitUnsettled(const base::Uuid& id,
                               std::vector<log::Record> records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Settle(const base::Uuid& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(const base::Uuid& id) ABSL_LOCKS_EXCLUDED(mutex_);
  void ForgetFailed(const std::shared_ptr<Session>& session)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::shared_ptr<Session>> Sessions() ABSL_LOCKS_EXCLUDED(mutex_);

  // Set once, by Start.
  SessionContext* context_ = nullptr;
  const log::LogReader* log_ = nullptr;

  // Taken by commit threads; no other lock is taken under it.
  base::Mutex log_mutex_;
  log::OpenSessions log_sessions_ ABSL_GUARDED_BY(log_mutex_);

  base::Mutex mutex_;
  base::CondVar stop_changed_;
  std::map<base::Uuid, std::shared_ptr<Session>> sessions_
      ABSL_GUARDED_BY(mutex_);
  // Sessions without an actor whose records are being read or are on their way
  // to the log, once for each: what the log says of them is not all there is.
  std::multiset<base::Uuid> unsettled_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Orphans whose state has been recorded, so that it is once.
  std::set<base::Uuid> said_degraded_ ABSL_GUARDED_BY(mutex_);
  // Only touched by Start and the ticking thread.
  absl::Duration next_abandon_check_;
  absl::Duration next_orphan_check_;
  std::thread tick_thread_;
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_SESSION_REGISTRY_H_
