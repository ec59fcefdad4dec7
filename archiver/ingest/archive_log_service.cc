#include "archiver/ingest/archive_log_service.h"

#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/principal.h"
#include "archiver/base/sha256.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/log/committer.h"
#include "archiver/log/record.h"
#include "proto/api/v1/archive_log.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// One call of Follow. Kept alive by the service's set until gRPC is done.
class FollowStream final
    : public grpc::ServerWriteReactor<api::v1::FollowResponse>,
      public std::enable_shared_from_this<FollowStream> {
 public:
  explicit FollowStream(ArchiveLogService* service) : service_(service) {}

  void Tell(log::Position durable_end) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    wanted_ = durable_end;
    WriteNext();
  }

  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    if (!final_status_.has_value()) final_status_ = status;
    WriteNext();
  }

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok && !final_status_.has_value()) {
      final_status_ = absl::CancelledError("the follower went away");
    }
    WriteNext();
  }

  void OnCancel() override { End(absl::CancelledError("cancelled")); }
  void OnDone() override { service_->Remove(shared_from_this()); }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (final_status_.has_value()) {
      finished_ = true;
      Finish(base::ToGrpcStatus(*final_status_));
      return;
    }
    // Positions in between need not be told.
    if (!wanted_.has_value()) return;
    outgoing_.set_durable_end(*wanted_);
    wanted_.reset();
    writing_ = true;
    StartWrite(&outgoing_);
  }

  ArchiveLogService* const service_;
  base::Mutex mutex_;
  std::optional<log::Position> wanted_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  api::v1::FollowResponse outgoing_ ABSL_GUARDED_BY(mutex_);
};

ArchiveLogService::ArchiveLogService(log::Committer* committer,
                                     base::Clock* clock,
                                     const base::Uuid& archive_id,
                                     log::Position durable_end)
    : committer_(committer),
      clock_(clock),
      archive_id_(archive_id),
      durable_end_(durable_end) {}

ArchiveLogService::~ArchiveLogService() = default;

void ArchiveLogService::SetDurableEnd(log::Position durable_end) {
  std::set<std::shared_ptr<FollowStream>> followers;
  {
    base::MutexLock lock(&mutex_);
    durable_end_ = durable_end;
    followers = followers_;
  }
  for (const auto& follower : followers) follower->Tell(durable_end);
}

void ArchiveLogService::StopFollowers() {
  std::set<std::shared_ptr<FollowStream>> followers;
  {
    base::MutexLock lock(&mutex_);
    stopped_ = true;
    followers = followers_;
  }
  for (const auto& follower : followers) follower->End(Draining());
}

void ArchiveLogService::Remove(const std::shared_ptr<FollowStream>& stream) {
  base::MutexLock lock(&mutex_);
  followers_.erase(stream);
}

grpc::ServerWriteReactor<api::v1::FollowResponse>* ArchiveLogService::Follow(
    grpc::CallbackServerContext* context,
    const api::v1::FollowRequest* /*request*/) {
  const auto stream = std::make_shared<FollowStream>(this);
  absl::Status status =
      base::RequireRole(*context, archive_id_, {base::Role::kIndexer}).status();
  base::MutexLock lock(&mutex_);
  followers_.insert(stream);
  if (status.ok() && stopped_) status = Draining();
  if (status.ok()) {
    stream->Tell(durable_end_);
  } else {
    stream->End(status);
  }
  return stream.get();
}

grpc::ServerUnaryReactor* ArchiveLogService::AppendAccess(
    grpc::CallbackServerContext* context,
    const api::v1::AppendAccessRequest* request,
    api::v1::AppendAccessResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status status =
      base::RequireRole(*context, archive_id_, {base::Role::kIndexer}).status();
  if (status.ok() &&
      (request->sealed_access().empty() ||
       request->sealed_access().size() > limits::kMaxSealedAccess_bytes)) {
    status = absl::InvalidArgumentError(
        "an access record is empty or over the limit");
  }
  if (status.ok() && request->commitment().size() != base::kSha256_bytes) {
    status = absl::InvalidArgumentError(
        "an access record has a commitment of 32 bytes");
  }
  if (status.ok()) {
    stored::v1::Access header;
    header.set_commitment(request->commitment());
    header.set_record_time_us(absl::ToUnixMicros(clock_->Now()));
    status = committer_->Submit(
        {{log::RecordType::kAccess, header.SerializeAsString(),
          request->sealed_access()}},
        [reactor, response](
            const absl::StatusOr<std::vector<log::Position>>& positions) {
          if (!positions.ok()) {
            reactor->Finish(base::ToGrpcStatus(StorageFailed()));
            return;
          }
          response->set_log_position(positions->front());
          reactor->Finish(grpc::Status::OK);
        });
  }
  if (!status.ok()) reactor->Finish(base::ToGrpcStatus(status));
  return reactor;
}

}  // namespace diptych::ingest
