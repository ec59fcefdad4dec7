#include "archiver/ingest/ingest_service.h"

#include <string>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/principal.h"
#include "archiver/ingest/record_stream.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {

grpc::ServerBidiReactor<api::v1::RecordRequest, api::v1::RecordResponse>*
IngestService::Record(grpc::CallbackServerContext* context) {
  const absl::StatusOr<base::Principal> principal =
      base::RequireRole(*context, archive_id_, {base::Role::kGateway});
  return StartRecordStream(registry_,
                           principal.ok() ? principal->name : std::string(),
                           principal.status());
}

}  // namespace diptych::ingest
