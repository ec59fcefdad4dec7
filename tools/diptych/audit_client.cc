#include "tools/diptych/audit_client.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/profile.h"

namespace diptych::cli {
namespace {

// An answer that is not a stream comes within this time or not at all.
void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() +
                        absl::ToChronoMilliseconds(limits::kClientCallTimeout));
}

template <typename Response, typename Call>
absl::StatusOr<Response> CallOnce(const Profile& profile, Interrupt* interrupt,
                                  const Call& call) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const Interrupt::ScopedCallback cancel(interrupt,
                                         [&context] { context.TryCancel(); });
  Response response;
  const grpc::Status status = call(&context, &response);
  if (!status.ok()) {
    return ExplainCallError(base::FromGrpcStatus(status), profile,
                            profile.audit_address);
  }
  return response;
}

template <typename Response, typename Start>
absl::Status CallStream(
    const Profile& profile, Interrupt* interrupt, const Start& start,
    const std::function<absl::Status(const Response&)>& on_message) {
  grpc::ClientContext context;
  const Interrupt::ScopedCallback cancel(interrupt,
                                         [&context] { context.TryCancel(); });
  const std::unique_ptr<grpc::ClientReader<Response>> reader = start(&context);
  absl::Status handled;
  Response message;
  while (handled.ok() && reader->Read(&message)) handled = on_message(message);
  if (!handled.ok()) context.TryCancel();
  const grpc::Status status = reader->Finish();
  if (!handled.ok()) return handled;
  return ExplainCallError(base::FromGrpcStatus(status), profile,
                          profile.audit_address);
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditClient>> AuditClient::Open(
    const CommandContext& context) {
  ASSIGN_OR_RETURN(const std::string folder,
                   ProfileFolder(context.profile_flag));
  ASSIGN_OR_RETURN(Profile profile, LoadProfile(folder));
  return std::make_unique<AuditClient>(std::move(profile), context.interrupt);
}

AuditClient::AuditClient(Profile profile, Interrupt* interrupt)
    : profile_(std::move(profile)),
      interrupt_(interrupt),
      catalog_(
          api::v1::Catalog::NewStub(Connect(profile_, profile_.audit_address))),
      media_(
          api::v1::Media::NewStub(Connect(profile_, profile_.audit_address))) {}

absl::StatusOr<api::v1::ListSessionsResponse> AuditClient::ListSessions(
    const api::v1::ListSessionsRequest& request) {
  return CallOnce<api::v1::ListSessionsResponse>(
      profile_, interrupt_, [&](auto* context, auto* response) {
        return catalog_->ListSessions(context, request, response);
      });
}

absl::StatusOr<api::v1::ListSegmentsResponse> AuditClient::ListSegments(
    const api::v1::ListSegmentsRequest& request) {
  return CallOnce<api::v1::ListSegmentsResponse>(
      profile_, interrupt_, [&](auto* context, auto* response) {
        return catalog_->ListSegments(context, request, response);
      });
}

absl::StatusOr<api::v1::CountSessionsResponse> AuditClient::CountSessions(
    const api::v1::CountSessionsRequest& request) {
  return CallOnce<api::v1::CountSessionsResponse>(
      profile_, interrupt_, [&](auto* context, auto* response) {
        return catalog_->CountSessions(context, request, response);
      });
}

absl::StatusOr<api::v1::SummarizeResponse> AuditClient::Summarize(
    const api::v1::SummarizeRequest& request) {
  return CallOnce<api::v1::SummarizeResponse>(
      profile_, interrupt_, [&](auto* context, auto* response) {
        return catalog_->Summarize(context, request, response);
      });
}

absl::StatusOr<api::v1::GetSessionResponse> AuditClient::GetSession(
    const api::v1::GetSessionRequest& request) {
  return CallOnce<api::v1::GetSessionResponse>(
      profile_, interrupt_, [&](auto* context, auto* response) {
        return catalog_->GetSession(context, request, response);
      });
}

absl::StatusOr<api::v1::GetIndexStatusResponse> AuditClient::GetIndexStatus() {
  return CallOnce<api::v1::GetIndexStatusResponse>(
      profile_, interrupt_, [&](auto* context, auto* response) {
        return catalog_->GetIndexStatus(
            context, api::v1::GetIndexStatusRequest(), response);
      });
}

absl::Status AuditClient::RebuildIndex(
    const std::function<absl::Status(const api::v1::RebuildIndexResponse&)>&
        on_message) {
  return CallStream<api::v1::RebuildIndexResponse>(
      profile_, interrupt_,
      [&](grpc::ClientContext* context) {
        return catalog_->RebuildIndex(context, api::v1::RebuildIndexRequest());
      },
      on_message);
}

absl::Status AuditClient::Read(
    const api::v1::ReadRequest& request,
    const std::function<absl::Status(const api::v1::ReadResponse&)>&
        on_message) {
  return CallStream<api::v1::ReadResponse>(
      profile_, interrupt_,
      [&](auto* context) { return media_->Read(context, request); },
      on_message);
}

absl::Status AuditClient::ReadBundle(
    const api::v1::ReadRequest& request,
    const std::function<absl::Status(const api::v1::ReadBundleResponse&)>&
        on_message) {
  return CallStream<api::v1::ReadBundleResponse>(
      profile_, interrupt_,
      [&](auto* context) { return media_->ReadBundle(context, request); },
      on_message);
}

absl::Status AuditClient::ReadAttachment(
    const api::v1::ReadAttachmentRequest& request,
    const std::function<absl::Status(const api::v1::ReadAttachmentResponse&)>&
        on_message) {
  return CallStream<api::v1::ReadAttachmentResponse>(
      profile_, interrupt_,
      [&](auto* context) { return media_->ReadAttachment(context, request); },
      on_message);
}

}  // namespace diptych::cli
