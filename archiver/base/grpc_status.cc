#include "archiver/base/grpc_status.h"

#include <string>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::base {

api::v1::RpcStatus ToRpcStatus(const absl::Status& status) {
  api::v1::RpcStatus rpc;
  rpc.set_code(static_cast<int>(status.code()));
  rpc.set_message(std::string(status.message()));
  if (const auto detail = GetErrorDetail(status)) {
    rpc.add_details()->PackFrom(*detail);
  }
  return rpc;
}

absl::Status FromRpcStatus(const api::v1::RpcStatus& rpc) {
  const auto code = static_cast<absl::StatusCode>(rpc.code());
  for (const auto& any : rpc.details()) {
    api::v1::ErrorDetail detail;
    if (any.UnpackTo(&detail)) return MakeError(code, rpc.message(), detail);
  }
  return absl::Status(code, rpc.message());
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message()),
                      ToRpcStatus(status).SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  api::v1::RpcStatus rpc;
  if (!status.error_details().empty() &&
      rpc.ParseFromString(status.error_details()) &&
      rpc.code() == static_cast<int>(status.error_code())) {
    return FromRpcStatus(rpc);
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

}  // namespace diptych::base
