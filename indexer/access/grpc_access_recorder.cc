#include "indexer/access/grpc_access_recorder.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/record.h"
#include "archiver/seal/envelope.h"
#include "indexer/access/access_salt.h"
#include "proto/api/v1/archive_log.grpc.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

// Bound to the envelope, so that no other sealed message passes for a record.
constexpr char kContext[] = "access";

}  // namespace

GrpcAccessRecorder::GrpcAccessRecorder(
    const std::shared_ptr<grpc::Channel>& channel,
    stored::v1::ArchiveConfig archive)
    : stub_(api::v1::ArchiveLog::NewStub(channel)),
      archive_(std::move(archive)) {}

absl::StatusOr<log::Position> GrpcAccessRecorder::Record(
    const stored::v1::AccessRecord& record) {
  stored::v1::AccessRecord salted = record;
  SaltAccess(&salted);
  const std::string bytes = salted.SerializeAsString();
  ASSIGN_OR_RETURN(const stored::v1::SealedEnvelope envelope,
                   seal::SealEnvelope(archive_, stored::v1::KEY_CLASS_METADATA,
                                      kContext, bytes));
  api::v1::AppendAccessRequest request;
  request.set_sealed_access(envelope.SerializeAsString());
  request.set_commitment(evidence::AccessCommitment(bytes));
  if (request.sealed_access().size() > limits::kMaxSealedAccess_bytes) {
    return absl::InvalidArgumentError(
        "what is asked for is too long to be kept in an access record");
  }
  grpc::ClientContext context;
  context.set_deadline(
      std::chrono::system_clock::now() +
      absl::ToChronoMicroseconds(limits::kAccessRecordTimeout));
  api::v1::AppendAccessResponse response;
  const absl::Status status =
      base::FromGrpcStatus(stub_->AppendAccess(&context, request, &response));
  if (status.ok()) return response.log_position();
  api::v1::ErrorDetail detail;
  detail.set_reason("ACCESS_NOT_RECORDED");
  detail.set_retryable(true);
  return base::MakeError(
      absl::StatusCode::kUnavailable,
      absl::StrCat("nothing is read, because the archiver did not record the "
                   "access: ",
                   status.message()),
      detail);
}

}  // namespace diptych::indexer
