#ifndef ARCHIVER_INGEST_RECORD_STREAM_H_
#define ARCHIVER_INGEST_RECORD_STREAM_H_

#include <string>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "archiver/ingest/session_registry.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {

using RecordReactor =
    grpc::ServerBidiReactor<api::v1::RecordRequest, api::v1::RecordResponse>;

// One call of Ingest.Record. Owns itself until gRPC is done with it. `registry`
// must outlive the call. A `refusal` that is not OK ends the call at once.
RecordReactor* StartRecordStream(SessionRegistry* registry,
                                 const std::string& gateway,
                                 const absl::Status& refusal);

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_RECORD_STREAM_H_
