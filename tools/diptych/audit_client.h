#ifndef TOOLS_DIPTYCH_AUDIT_CLIENT_H_
#define TOOLS_DIPTYCH_AUDIT_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/api/v1/catalog.grpc.pb.h"
#include "proto/api/v1/media.grpc.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/profile.h"

namespace diptych::cli {

// The reading side of an archive, as seen through a profile. Statuses are those
// of ExplainCallError; an interrupt cancels the call under way. Not
// thread-safe.
class AuditClient {
 public:
  // Loads the context's profile; does not connect yet.
  static absl::StatusOr<std::unique_ptr<AuditClient>> Open(
      const CommandContext& context);

  AuditClient(Profile profile, Interrupt* interrupt);

  absl::StatusOr<api::v1::ListSessionsResponse> ListSessions(
      const api::v1::ListSessionsRequest& request);
  absl::StatusOr<api::v1::ListSegmentsResponse> ListSegments(
      const api::v1::ListSegmentsRequest& request);
  absl::StatusOr<api::v1::CountSessionsResponse> CountSessions(
      const api::v1::CountSessionsRequest& request);
  absl::StatusOr<api::v1::SummarizeResponse> Summarize(
      const api::v1::SummarizeRequest& request);
  absl::StatusOr<api::v1::GetSessionResponse> GetSession(
      const api::v1::GetSessionRequest& request);
  absl::StatusOr<api::v1::GetIndexStatusResponse> GetIndexStatus();
  // Lasts as long as the rebuild, which goes on without the caller.
  absl::Status RebuildIndex(
      const std::function<absl::Status(const api::v1::RebuildIndexResponse&)>&
          on_message);

  // Hands over every message in order; stops at the first error of `on_message`
  // and returns it.
  absl::Status Read(
      const api::v1::ReadRequest& request,
      const std::function<absl::Status(const api::v1::ReadResponse&)>&
          on_message);
  absl::Status ReadBundle(
      const api::v1::ReadRequest& request,
      const std::function<absl::Status(const api::v1::ReadBundleResponse&)>&
          on_message);
  absl::Status ReadAttachment(
      const api::v1::ReadAttachmentRequest& request,
      const std::function<absl::Status(const api::v1::ReadAttachmentResponse&)>&
          on_message);

 private:
  const Profile profile_;
  Interrupt* const interrupt_;
  const std::unique_ptr<api::v1::Catalog::Stub> catalog_;
  const std::unique_ptr<api::v1::Media::Stub> media_;
};

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_AUDIT_CLIENT_H_
