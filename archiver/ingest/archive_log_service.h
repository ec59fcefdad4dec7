#ifndef ARCHIVER_INGEST_ARCHIVE_LOG_SERVICE_H_
#define ARCHIVER_INGEST_ARCHIVE_LOG_SERVICE_H_

#include <memory>
#include <set>

#include <grpcpp/support/server_callback.h>

#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "archiver/log/committer.h"
#include "archiver/log/record.h"
#include "proto/api/v1/archive_log.grpc.pb.h"
#include "proto/api/v1/archive_log.pb.h"

namespace diptych::ingest {

class FollowStream;

// api.v1.ArchiveLog: for the reader's process, role indexer. Thread-safe.
class ArchiveLogService final : public api::v1::ArchiveLog::CallbackService {
 public:
  // `committer` and `clock` must outlive the server.
  ArchiveLogService(log::Committer* committer, base::Clock* clock,
                    const base::Uuid& archive_id, log::Position durable_end);
  ~ArchiveLogService() override;

  // Tells every follower. Positions never go back.
  void SetDurableEnd(log::Position durable_end) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends every follower's call, so that the server can stop.
  void StopFollowers() ABSL_LOCKS_EXCLUDED(mutex_);

  grpc::ServerWriteReactor<api::v1::FollowResponse>* Follow(
      grpc::CallbackServerContext* context,
      const api::v1::FollowRequest* request) override
      ABSL_LOCKS_EXCLUDED(mutex_);

  grpc::ServerUnaryReactor* AppendAccess(
      grpc::CallbackServerContext* context,
      const api::v1::AppendAccessRequest* request,
      api::v1::AppendAccessResponse* response) override;

 private:
  friend class FollowStream;
  void Remove(const std::shared_ptr<FollowStream>& stream)
      ABSL_LOCKS_EXCLUDED(mutex_);

  log::Committer* const committer_;
  base::Clock* const clock_;
  const base::Uuid archive_id_;
  base::Mutex mutex_;
  log::Position durable_end_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<FollowStream>> followers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_ARCHIVE_LOG_SERVICE_H_
