#ifndef INDEXER_QUERY_CATALOG_SERVICE_H_
#define INDEXER_QUERY_CATALOG_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include "archiver/base/ids.h"
#include "indexer/builder/rebuild.h"
#include "indexer/builder/rebuild_job.h"
#include "indexer/query/catalog.h"
#include "proto/api/v1/catalog.grpc.pb.h"
#include "proto/api/v1/catalog.pb.h"

namespace diptych::indexer {

// The Catalog on the wire: checks the caller's certificate, turns statuses into
// gRPC's. Auditors may ask everything, operators only for the index's status;
// operators alone may have it made again.
class CatalogService final : public api::v1::Catalog::Service {
 public:
  // `catalog` and `rebuilds` must outlive it. Without `rebuilds` there are
  // none.
  CatalogService(const base::Uuid& archive_id, Catalog* catalog,
                 RebuildJob* rebuilds = nullptr)
      : archive_id_(archive_id), catalog_(catalog), rebuilds_(rebuilds) {}

  grpc::Status ListSessions(grpc::ServerContext* context,
                            const api::v1::ListSessionsRequest* request,
                            api::v1::ListSessionsResponse* response) override;
  grpc::Status ListSegments(grpc::ServerContext* context,
                            const api::v1::ListSegmentsRequest* request,
                            api::v1::ListSegmentsResponse* response) override;
  grpc::Status CountSessions(grpc::ServerContext* context,
                             const api::v1::CountSessionsRequest* request,
                             api::v1::CountSessionsResponse* response) override;
  grpc::Status Summarize(grpc::ServerContext* context,
                         const api::v1::SummarizeRequest* request,
                         api::v1::SummarizeResponse* response) override;
  grpc::Status GetSession(grpc::ServerContext* context,
                          const api::v1::GetSessionRequest* request,
                          api::v1::GetSessionResponse* response) override;
  grpc::Status GetIndexStatus(
      grpc::ServerContext* context,
      const api::v1::GetIndexStatusRequest* request,
      api::v1::GetIndexStatusResponse* response) override;
  grpc::Status RebuildIndex(
      grpc::ServerContext* context, const api::v1::RebuildIndexRequest* request,
      grpc::ServerWriter<api::v1::RebuildIndexResponse>* writer) override;

 private:
  template <typename Request, typename Response>
  grpc::Status Answer(grpc::ServerContext* context, const Request& request,
                      absl::StatusOr<Response> (Catalog::*method)(
                          const Request&, const Caller&),
                      Response* response);

  const base::Uuid archive_id_;
  Catalog* const catalog_;
  RebuildJob* const rebuilds_;
};

api::v1::RebuildProgress ToApi(const RebuildProgress& progress);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_CATALOG_SERVICE_H_
