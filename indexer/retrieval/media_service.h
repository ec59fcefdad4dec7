#ifndef INDEXER_RETRIEVAL_MEDIA_SERVICE_H_
#define INDEXER_RETRIEVAL_MEDIA_SERVICE_H_

#include <functional>
#include <string>
#include <vector>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/access/access_recorder.h"
#include "indexer/retrieval/bundle_proofs.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/media.grpc.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// The Media service: reading what was archived. Every call is checked for its
// role and purpose, then recorded, and only when the record is durable is the
// first sealed byte opened. While the index has less of the log than the access
// record's place, a call is UNAVAILABLE: it never says of what is there that it
// is not, nor gives only the beginning. A cancelled call stops before its next
// chunk. Thread-safe.
class MediaService : public api::v1::Media::Service {
 public:
  // Who calls, and whether they may.
  using Authorize = std::function<absl::StatusOr<base::Principal>(
      const grpc::ServerContextBase&)>;

  struct Options {
    base::Uuid archive_id;
    const MediaIndex* index = nullptr;
    const log::LogReader* log = nullptr;
    const log::LogReader* key_store = nullptr;
    AccessRecorder* access = nullptr;
    base::Clock* clock = nullptr;
    // What bundles are proven by.
    LogTree tree;
    // Of the media and metadata classes.
    std::vector<seal::KeyPair> keys;
    // None: RequireRole, auditors of this archive only.
    Authorize authorize;
    // Waits until the index has all of the log before `position`; UNAVAILABLE
    // if it does not come to that. None: it has.
    std::function<absl::Status(log::Position position)> await_index;
  };

  // What the options point to must outlive it.
  explicit MediaService(Options options);

  grpc::Status Read(grpc::ServerContext* context,
                    const api::v1::ReadRequest* request,
                    grpc::ServerWriter<api::v1::ReadResponse>* writer) override;

  grpc::Status ReadAttachment(
      grpc::ServerContext* context,
      const api::v1::ReadAttachmentRequest* request,
      grpc::ServerWriter<api::v1::ReadAttachmentResponse>* writer) override;

  grpc::Status ReadBundle(
      grpc::ServerContext* context, const api::v1::ReadRequest* request,
      grpc::ServerWriter<api::v1::ReadBundleResponse>* writer) override;

 private:
  struct Grant;

  // Everything that has to be so before a sealed byte is opened. `record` has
  // action, and whatever else is asked for.
  absl::StatusOr<Grant> Admit(const base::Principal& principal,
                              const std::string& session_id,
                              const std::string& purpose,
                              stored::v1::AccessRecord record) const;
  absl::Status DoRead(grpc::ServerContext* context,
                      const api::v1::ReadRequest& request,
                      grpc::ServerWriter<api::v1::ReadResponse>* writer) const;
  absl::Status DoReadBundle(
      grpc::ServerContext* context, const api::v1::ReadRequest& request,
      grpc::ServerWriter<api::v1::ReadBundleResponse>* writer) const;
  absl::Status DoReadAttachment(
      grpc::ServerContext* context,
      const api::v1::ReadAttachmentRequest& request,
      grpc::ServerWriter<api::v1::ReadAttachmentResponse>* writer) const;

  const Options options_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_MEDIA_SERVICE_H_
