#ifndef ARCHIVER_EVIDENCE_TRANSPARENCY_SERVICE_H_
#define ARCHIVER_EVIDENCE_TRANSPARENCY_SERVICE_H_

#include <atomic>
#include <memory>
#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tree_additions.h"
#include "proto/api/v1/transparency.grpc.pb.h"
#include "proto/api/v1/transparency.pb.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::evidence {

// api.v1.Transparency: the log tree, read from DIR/tlog, for all roles of an
// archive. Thread-safe.
class TransparencyService final : public api::v1::Transparency::Service {
 public:
  struct Options {
    base::FileSystem* file_system = nullptr;
    // DIR/tlog; need not be there yet.
    std::string directory;
    // True in the writer alone: takes cosignatures and time stamps.
    bool takes_additions = false;
  };

  // INVALID_ARGUMENT if the archive has no log key, or a witness's is none.
  static absl::StatusOr<std::unique_ptr<TransparencyService>> Create(
      const Options& options, const stored::v1::ArchiveConfig& archive);

  // Ends calls that wait, so that the server can stop.
  void StopWaiting() { stopping_ = true; }

  grpc::Status GetCheckpoint(grpc::ServerContext* context,
                             const api::v1::GetCheckpointRequest* request,
                             api::v1::GetCheckpointResponse* response) override;
  grpc::Status GetInclusionProof(
      grpc::ServerContext* context,
      const api::v1::GetInclusionProofRequest* request,
      api::v1::GetInclusionProofResponse* response) override;
  grpc::Status GetConsistencyProof(
      grpc::ServerContext* context,
      const api::v1::GetConsistencyProofRequest* request,
      api::v1::GetConsistencyProofResponse* response) override;
  grpc::Status AddCosignature(
      grpc::ServerContext* context,
      const api::v1::AddCosignatureRequest* request,
      api::v1::AddCosignatureResponse* response) override;
  grpc::Status AddTimestamp(grpc::ServerContext* context,
                            const api::v1::AddTimestampRequest* request,
                            api::v1::AddTimestampResponse* response) override;

 private:
  TransparencyService(const Options& options, const base::Uuid& archive_id,
                      TreeAdditions::Options additions);

  // NOT_FOUND if it is not there.
  absl::StatusOr<std::string> ReadFile(absl::string_view name) const;
  absl::StatusOr<SignedCheckpoint> Latest() const;
  absl::StatusOr<std::string> FindCheckpoint(
      grpc::ServerContext* context,
      const api::v1::GetCheckpointRequest& request) const;
  absl::Status ProveInclusion(const api::v1::GetInclusionProofRequest& request,
                              api::v1::GetInclusionProofResponse* response);
  absl::Status ProveConsistency(
      const api::v1::GetConsistencyProofRequest& request,
      api::v1::GetConsistencyProofResponse* response);
  // The note of that size, if one is kept; else empty.
  std::string KeptCheckpoint(const SignedCheckpoint& latest,
                             uint64_t size) const;
  // The tree of `size` leaves (0: of the latest checkpoint).
  absl::StatusOr<TileTree> TreeOf(const SignedCheckpoint& latest,
                                  uint64_t size) const;

  const Options options_;
  const base::Uuid archive_id_;
  const NoteKey log_key_;
  TreeAdditions additions_;
  std::atomic<bool> stopping_ = false;
  // Calls that wait for a checkpoint; each occupies a thread of the server.
  mutable std::atomic<int> waiting_ = 0;
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TRANSPARENCY_SERVICE_H_
