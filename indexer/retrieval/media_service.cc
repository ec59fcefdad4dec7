#include "indexer/retrieval/media_service.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/principal.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "indexer/access/access_salt.h"
#include "indexer/retrieval/bundle_export.h"
#include "indexer/retrieval/call_streams.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_export.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/media.grpc.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

absl::Status BadField(absl::string_view field, absl::string_view message) {
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD_REQUEST");
  detail.set_field(std::string(field));
  return base::MakeError(absl::StatusCode::kInvalidArgument, message, detail);
}

// Checks what a read asks for and puts it into `range` and `record`.
absl::Status ParseRange(const api::v1::ReadRequest& request, ReadRange* range,
                        stored::v1::AccessRecord* record) {
  if (request.has_from_us()) {
    range->from_us = request.from_us();
    record->set_from_us(request.from_us());
  }
  if (request.has_to_us()) {
    range->to_us = request.to_us();
    record->set_to_us(request.to_us());
  }
  for (const int side : request.sides()) {
    if (side != api::v1::SIDE_RESIDENT && side != api::v1::SIDE_CLERK) {
      return BadField("sides", "a side is RESIDENT or CLERK");
    }
    range->sides.push_back(static_cast<stored::v1::Side>(side));
    record->add_sides(static_cast<stored::v1::Side>(side));
  }
  if (range->from_us && range->to_us && *range->from_us >= *range->to_us) {
    return BadField("from_us", "the range's begin is not before its end");
  }
  return absl::OkStatus();
}

}  // namespace

struct MediaService::Grant {
  base::Uuid session_id;
  log::Position access_log_position = 0;
  // As it was sealed.
  std::string access_record;
};

MediaService::MediaService(Options options)
    : options_([&] {
        if (!options.authorize) {
          options.authorize = [archive_id = options.archive_id](
                                  const grpc::ServerContextBase& context) {
            return base::RequireRole(context, archive_id,
                                     {base::Role::kAuditor});
          };
        }
        return std::move(options);
      }()) {}

absl::StatusOr<MediaService::Grant> MediaService::Admit(
    const base::Principal& principal, const std::string& session_id,
    const std::string& purpose, stored::v1::AccessRecord record) const {
  Grant grant;
  const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(session_id);
  if (!id.ok()) return BadField("session_id", id.status().message());
  grant.session_id = *id;
  if (purpose.empty()) {
    return BadField("purpose",
                    "say why the session is read: a purpose is kept "
                    "with every access");
  }
  if (purpose.size() > limits::kMaxPurpose_bytes) {
    return BadField("purpose",
                    absl::StrCat("a purpose is at most ",
                                 limits::kMaxPurpose_bytes, " bytes long"));
  }
  record.set_principal(principal.ToUri());
  record.set_session_id(std::string(grant.session_id.bytes()));
  record.set_purpose(purpose);
  record.set_time_us(absl::ToUnixMicros(options_.clock->Now()));
  SaltAccess(&record);
  grant.access_record = record.SerializeAsString();
  ASSIGN_OR_RETURN(grant.access_log_position, options_.access->Record(record));
  if (options_.await_index) {
    RETURN_IF_ERROR(options_.await_index(grant.access_log_position));
  }
  return grant;
}

absl::Status MediaService::DoRead(
    grpc::ServerContext* context, const api::v1::ReadRequest& request,
    grpc::ServerWriter<api::v1::ReadResponse>* writer) const {
  ASSIGN_OR_RETURN(const base::Principal principal,
                   options_.authorize(*context));
  ReadRange range;
  stored::v1::AccessRecord record;
  record.set_action("Media.Read");
  RETURN_IF_ERROR(ParseRange(request, &range, &record));
  if (request.container() == api::v1::CONTAINER_UNSPECIFIED ||
      !api::v1::Container_IsValid(request.container())) {
    return BadField("container",
                    "say which container: Matroska, MP4, fragmented MP4, WebM");
  }
  ASSIGN_OR_RETURN(const Grant grant,
                   Admit(principal, request.session_id(), request.purpose(),
                         std::move(record)));
  ASSIGN_OR_RETURN(SessionMedia media,
                   options_.index->GetSessionMedia(grant.session_id));
  SessionReader session(
      {options_.archive_id, options_.log, options_.key_store, &options_.keys},
      std::move(media));
  FileReceiver receiver(context, writer, grant.access_log_position);
  ASSIGN_OR_RETURN(
      api::v1::ReadFinished finished,
      ExportSession(range, request.container(), &session, &receiver));
  return receiver.Finish(std::move(finished));
}

absl::Status MediaService::DoReadBundle(
    grpc::ServerContext* context, const api::v1::ReadRequest& request,
    grpc::ServerWriter<api::v1::ReadBundleResponse>* writer) const {
  ASSIGN_OR_RETURN(const base::Principal principal,
                   options_.authorize(*context));
  BundleRequest bundle;
  stored::v1::AccessRecord record;
  record.set_action("Media.ReadBundle");
  RETURN_IF_ERROR(ParseRange(request, &bundle.range, &record));
  if (request.container() != api::v1::CONTAINER_UNSPECIFIED) {
    bundle.container = request.container();
  }
  if (bundle.container != api::v1::CONTAINER_MATROSKA &&
      bundle.container != api::v1::CONTAINER_MP4) {
    return BadField("container", "a bundle's media is Matroska or MP4");
  }
  ASSIGN_OR_RETURN(Grant grant, Admit(principal, request.session_id(),
                                      request.purpose(), std::move(record)));
  bundle.session_id = grant.session_id;
  bundle.access_position = grant.access_log_position;
  bundle.access_record = std::move(grant.access_record);
  BundleStream receiver(context, writer, grant.access_log_position);
  ASSIGN_OR_RETURN(api::v1::ReadFinished finished,
                   ExportBundle(bundle,
                                {options_.archive_id, options_.log,
                                 options_.key_store, &options_.keys},
                                *options_.index, options_.tree, &receiver));
  return receiver.Finish(std::move(finished));
}

absl::Status MediaService::DoReadAttachment(
    grpc::ServerContext* context, const api::v1::ReadAttachmentRequest& request,
    grpc::ServerWriter<api::v1::ReadAttachmentResponse>* writer) const {
  ASSIGN_OR_RETURN(const base::Principal principal,
                   options_.authorize(*context));
  stored::v1::AccessRecord record;
  record.set_action(
      absl::StrCat("Media.ReadAttachment of ", request.attachment_id()));
  ASSIGN_OR_RETURN(const Grant grant,
                   Admit(principal, request.session_id(), request.purpose(),
                         std::move(record)));
  ASSIGN_OR_RETURN(
      AttachmentRef attachment,
      options_.index->GetAttachment(grant.session_id, request.attachment_id()));
  ASSIGN_OR_RETURN(SessionMedia media,
                   options_.index->GetSessionMedia(grant.session_id));
  SessionReader session(
      {options_.archive_id, options_.log, options_.key_store, &options_.keys},
      std::move(media));
  std::stable_sort(attachment.parts.begin(), attachment.parts.end(),
                   [](const AttachmentPartRef& a, const AttachmentPartRef& b) {
                     return a.offset < b.offset;
                   });
  uint64_t sent_bytes = 0;
  const auto incomplete = [&] {
    return absl::FailedPreconditionError(
        absl::StrCat("attachment ", attachment.attachment_id,
                     " did not arrive whole: of ", attachment.size_bytes,
                     " bytes those from ", sent_bytes, " on are missing"));
  };
  for (const AttachmentPartRef& part : attachment.parts) {
    if (context->IsCancelled()) return absl::CancelledError("the call ended");
    // Sent twice by a gateway that was not sure: the first is the one.
    if (part.offset < sent_bytes) continue;
    if (part.offset > sent_bytes) return incomplete();
    ASSIGN_OR_RETURN(
        const std::string bytes,
        session.OpenAttachmentPart(attachment.attachment_id, part));
    for (size_t at = 0; at < bytes.size(); at += limits::kReadData_bytes) {
      api::v1::ReadAttachmentResponse response;
      response.set_data(bytes.substr(at, limits::kReadData_bytes));
      if (!writer->Write(response)) {
        return absl::CancelledError("the call ended");
      }
    }
    sent_bytes += bytes.size();
  }
  if (sent_bytes != attachment.size_bytes) return incomplete();
  return absl::OkStatus();
}

namespace {

// What is not as it was stored is everybody's business, not only the reader's.
grpc::Status Reported(absl::string_view action, const absl::Status& status) {
  if (status.code() == absl::StatusCode::kDataLoss) {
    base::LogLine(base::Severity::kError, "integrity_violated",
                  {{"action", action}, {"error", status.message()}});
  }
  return base::ToGrpcStatus(status);
}

}  // namespace

grpc::Status MediaService::Read(
    grpc::ServerContext* context, const api::v1::ReadRequest* request,
    grpc::ServerWriter<api::v1::ReadResponse>* writer) {
  return Reported("Media.Read", DoRead(context, *request, writer));
}

grpc::Status MediaService::ReadBundle(
    grpc::ServerContext* context, const api::v1::ReadRequest* request,
    grpc::ServerWriter<api::v1::ReadBundleResponse>* writer) {
  return Reported("Media.ReadBundle", DoReadBundle(context, *request, writer));
}

grpc::Status MediaService::ReadAttachment(
    grpc::ServerContext* context, const api::v1::ReadAttachmentRequest* request,
    grpc::ServerWriter<api::v1::ReadAttachmentResponse>* writer) {
  return Reported("Media.ReadAttachment",
                  DoReadAttachment(context, *request, writer));
}

}  // namespace diptych::indexer
