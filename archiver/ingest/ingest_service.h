#ifndef ARCHIVER_INGEST_INGEST_SERVICE_H_
#define ARCHIVER_INGEST_INGEST_SERVICE_H_

#include <grpcpp/support/server_callback.h>

#include "archiver/base/ids.h"
#include "archiver/ingest/session_registry.h"
#include "proto/api/v1/ingest.grpc.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {

// api.v1.Ingest: for certificates with the role gateway. Thread-safe.
class IngestService final : public api::v1::Ingest::CallbackService {
 public:
  // `registry` must outlive the server.
  IngestService(SessionRegistry* registry, const base::Uuid& archive_id)
      : registry_(registry), archive_id_(archive_id) {}

  grpc::ServerBidiReactor<api::v1::RecordRequest, api::v1::RecordResponse>*
  Record(grpc::CallbackServerContext* context) override;

 private:
  SessionRegistry* const registry_;
  const base::Uuid archive_id_;
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_INGEST_SERVICE_H_
