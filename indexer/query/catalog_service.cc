#include "indexer/query/catalog_service.h"

#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/principal.h"
#include "indexer/query/catalog.h"
#include "proto/api/v1/catalog.pb.h"

namespace diptych::indexer {

template <typename Request, typename Response>
grpc::Status CatalogService::Answer(
    grpc::ServerContext* context, const Request& request,
    absl::StatusOr<Response> (Catalog::*method)(const Request&, const Caller&),
    Response* response) {
  const absl::StatusOr<base::Principal> principal =
      base::RequireRole(*context, archive_id_, {base::Role::kAuditor});
  if (!principal.ok()) return base::ToGrpcStatus(principal.status());
  Caller caller;
  caller.principal = principal->ToUri();
  caller.cancelled = [context] { return context->IsCancelled(); };
  absl::StatusOr<Response> answer = (catalog_->*method)(request, caller);
  if (!answer.ok()) return base::ToGrpcStatus(answer.status());
  *response = *std::move(answer);
  return grpc::Status::OK;
}

grpc::Status CatalogService::ListSessions(
    grpc::ServerContext* context, const api::v1::ListSessionsRequest* request,
    api::v1::ListSessionsResponse* response) {
  return Answer(context, *request, &Catalog::ListSessions, response);
}

grpc::Status CatalogService::ListSegments(
    grpc::ServerContext* context, const api::v1::ListSegmentsRequest* request,
    api::v1::ListSegmentsResponse* response) {
  return Answer(context, *request, &Catalog::ListSegments, response);
}

grpc::Status CatalogService::CountSessions(
    grpc::ServerContext* context, const api::v1::CountSessionsRequest* request,
    api::v1::CountSessionsResponse* response) {
  return Answer(context, *request, &Catalog::CountSessions, response);
}

grpc::Status CatalogService::Summarize(grpc::ServerContext* context,
                                       const api::v1::SummarizeRequest* request,
                                       api::v1::SummarizeResponse* response) {
  return Answer(context, *request, &Catalog::Summarize, response);
}

grpc::Status CatalogService::GetSession(
    grpc::ServerContext* context, const api::v1::GetSessionRequest* request,
    api::v1::GetSessionResponse* response) {
  return Answer(context, *request, &Catalog::GetSession, response);
}

grpc::Status CatalogService::GetIndexStatus(
    grpc::ServerContext* context, const api::v1::GetIndexStatusRequest*,
    api::v1::GetIndexStatusResponse* response) {
  const absl::StatusOr<base::Principal> principal = base::RequireRole(
      *context, archive_id_, {base::Role::kAuditor, base::Role::kOperator});
  if (!principal.ok()) return base::ToGrpcStatus(principal.status());
  *response = catalog_->GetIndexStatus();
  return grpc::Status::OK;
}

}  // namespace diptych::indexer
