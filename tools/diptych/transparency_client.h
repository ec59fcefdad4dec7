#ifndef TOOLS_DIPTYCH_TRANSPARENCY_CLIENT_H_
#define TOOLS_DIPTYCH_TRANSPARENCY_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/evidence/note.h"
#include "proto/api/v1/transparency.grpc.pb.h"
#include "proto/api/v1/transparency.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/profile.h"

namespace diptych::cli {

// An archive's transparency log, as seen through a profile: an auditor asks the
// reader, everybody else the writer. Statuses are those of ExplainCallError; an
// interrupt cancels the call under way. Not thread-safe.
class TransparencyClient {
 public:
  // Loads the context's profile; does not connect yet.
  static absl::StatusOr<std::unique_ptr<TransparencyClient>> Open(
      const CommandContext& context);

  TransparencyClient(Profile profile, Interrupt* interrupt);

  const Profile& profile() const { return profile_; }
  // "diptych/ARCHIVE-UUID".
  std::string origin() const;

  // A signed note.
  absl::StatusOr<std::string> GetCheckpoint(
      const api::v1::GetCheckpointRequest& request);
  absl::StatusOr<api::v1::GetInclusionProofResponse> GetInclusionProof(
      const api::v1::GetInclusionProofRequest& request);
  absl::StatusOr<api::v1::GetConsistencyProofResponse> GetConsistencyProof(
      const api::v1::GetConsistencyProofRequest& request);
  absl::Status AddCosignature(const std::string& checkpoint);
  absl::Status AddTimestamp(const std::string& checkpoint,
                            const std::string& response);

 private:
  const Profile profile_;
  const std::string address_;
  Interrupt* const interrupt_;
  const std::unique_ptr<api::v1::Transparency::Stub> stub_;
};

// The Ed25519 key with the name `origin`: `text` is the key itself
// (NAME+ID+BASE64) or names a file with keys, one a line, and comments after #.
// INVALID_ARGUMENT if there is none.
absl::StatusOr<evidence::NoteKey> FindLogKey(const std::string& text,
                                             const std::string& origin);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_TRANSPARENCY_CLIENT_H_
