#ifndef INDEXER_ACCESS_GRPC_ACCESS_RECORDER_H_
#define INDEXER_ACCESS_GRPC_ACCESS_RECORDER_H_

#include <memory>

#include <grpcpp/channel.h>

#include "absl/status/statusor.h"
#include "archiver/log/record.h"
#include "indexer/access/access_recorder.h"
#include "proto/api/v1/archive_log.grpc.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// Has the archiver append access records, over its ArchiveLog service. One try
// a record: whoever reads decides whether to try again. Thread-safe.
class GrpcAccessRecorder : public AccessRecorder {
 public:
  // `channel` bears the certificate with the role `indexer`.
  GrpcAccessRecorder(const std::shared_ptr<grpc::Channel>& channel,
                     stored::v1::ArchiveConfig archive);

  absl::StatusOr<log::Position> Record(
      const stored::v1::AccessRecord& record) override;

 private:
  const std::unique_ptr<api::v1::ArchiveLog::Stub> stub_;
  const stored::v1::ArchiveConfig archive_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_ACCESS_GRPC_ACCESS_RECORDER_H_
