#ifndef ARCHIVER_BASE_GRPC_STATUS_H_
#define ARCHIVER_BASE_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::base {

// The one place where our statuses become gRPC's and back. The ErrorDetail
// travels in grpc-status-details-bin, in the shape of google.rpc.Status.
grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

api::v1::RpcStatus ToRpcStatus(const absl::Status& status);
absl::Status FromRpcStatus(const api::v1::RpcStatus& status);

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_GRPC_STATUS_H_
