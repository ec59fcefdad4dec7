#include "indexer/query/catalog_service.h"

#include <cstdint>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/log_line.h"
#include "archiver/base/principal.h"
#include "indexer/builder/rebuild.h"
#include "indexer/builder/rebuild_job.h"
#include "indexer/query/catalog.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::indexer {
namespace {

// Who waits for a rebuild hears this often of it, also if nothing is new.
constexpr absl::Duration kTellEvery = absl::Seconds(1);

// What an answer met is wrong with the index, never with the evidence; the
// reader makes it again by itself.
absl::Status InWordsOfTheCaller(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  base::LogLine(base::Severity::kError, "an answer met damage of the index",
                {{"error", status.message()}});
  api::v1::ErrorDetail detail;
  detail.set_reason("INDEX_DAMAGED");
  detail.set_retryable(true);
  return base::MakeError(
      absl::StatusCode::kUnavailable,
      "the index is damaged and is made again from the log: ask again soon",
      detail);
}

}  // namespace

template <typename Request, typename Response>
grpc::Status CatalogService::Answer(
    grpc::ServerContext* context, const Request& request,
    absl::StatusOr<Response> (Catalog::*method)(const Request&, const Caller&),
    Response* response) {
  const absl::StatusOr<base::Principal> principal =
      base::RequireRole(*context, archive_id_, {base::Role::kAuditor});
  if (!principal.ok()) return base::ToGrpcStatus(principal.status());
  Caller caller;
  caller.principal = principal->ToUri();
  caller.cancelled = [context] { return context->IsCancelled(); };
  absl::StatusOr<Response> answer = (catalog_->*method)(request, caller);
  if (!answer.ok()) {
    return base::ToGrpcStatus(InWordsOfTheCaller(answer.status()));
  }
  *response = *std::move(answer);
  return grpc::Status::OK;
}

grpc::Status CatalogService::ListSessions(
    grpc::ServerContext* context, const api::v1::ListSessionsRequest* request,
    api::v1::ListSessionsResponse* response) {
  return Answer(context, *request, &Catalog::ListSessions, response);
}

grpc::Status CatalogService::ListSegments(
    grpc::ServerContext* context, const api::v1::ListSegmentsRequest* request,
    api::v1::ListSegmentsResponse* response) {
  return Answer(context, *request, &Catalog::ListSegments, response);
}

grpc::Status CatalogService::CountSessions(
    grpc::ServerContext* context, const api::v1::CountSessionsRequest* request,
    api::v1::CountSessionsResponse* response) {
  return Answer(context, *request, &Catalog::CountSessions, response);
}

grpc::Status CatalogService::Summarize(grpc::ServerContext* context,
                                       const api::v1::SummarizeRequest* request,
                                       api::v1::SummarizeResponse* response) {
  return Answer(context, *request, &Catalog::Summarize, response);
}

grpc::Status CatalogService::GetSession(
    grpc::ServerContext* context, const api::v1::GetSessionRequest* request,
    api::v1::GetSessionResponse* response) {
  return Answer(context, *request, &Catalog::GetSession, response);
}

grpc::Status CatalogService::GetIndexStatus(
    grpc::ServerContext* context, const api::v1::GetIndexStatusRequest*,
    api::v1::GetIndexStatusResponse* response) {
  const absl::StatusOr<base::Principal> principal = base::RequireRole(
      *context, archive_id_, {base::Role::kAuditor, base::Role::kOperator});
  if (!principal.ok()) return base::ToGrpcStatus(principal.status());
  *response = catalog_->GetIndexStatus();
  return grpc::Status::OK;
}

api::v1::RebuildProgress ToApi(const RebuildProgress& progress) {
  api::v1::RebuildProgress message;
  switch (progress.phase) {
    case RebuildProgress::Phase::kReading:
      message.set_phase(api::v1::RebuildProgress::PHASE_READING);
      break;
    case RebuildProgress::Phase::kWriting:
      message.set_phase(api::v1::RebuildProgress::PHASE_WRITING);
      break;
    case RebuildProgress::Phase::kCatchingUp:
      message.set_phase(api::v1::RebuildProgress::PHASE_CATCHING_UP);
      break;
  }
  message.set_done(progress.done);
  message.set_total(progress.total);
  return message;
}

grpc::Status CatalogService::RebuildIndex(
    grpc::ServerContext* context, const api::v1::RebuildIndexRequest*,
    grpc::ServerWriter<api::v1::RebuildIndexResponse>* writer) {
  const absl::StatusOr<base::Principal> principal =
      base::RequireRole(*context, archive_id_, {base::Role::kOperator});
  if (!principal.ok()) return base::ToGrpcStatus(principal.status());
  if (rebuilds_ == nullptr) {
    return base::ToGrpcStatus(
        absl::UnimplementedError("this reader makes no index again"));
  }
  RebuildJob::News news = rebuilds_->Start();
  const uint64_t before = news.ended;
  while (news.ended == before) {
    api::v1::RebuildIndexResponse response;
    *response.mutable_progress() = ToApi(news.progress);
    // The rebuild goes on without who asked for it.
    if (context->IsCancelled() || !writer->Write(response)) {
      return grpc::Status::CANCELLED;
    }
    const RebuildJob::News next = rebuilds_->WaitForOther(news, kTellEvery);
    if (next.stopped) {
      return base::ToGrpcStatus(
          absl::UnavailableError("the reader stops; the rebuild goes on when "
                                 "it is started again"));
    }
    news = next;
  }
  if (!news.result.ok()) return base::ToGrpcStatus(news.result.status());
  api::v1::RebuildIndexResponse response;
  api::v1::RebuildResult* const done = response.mutable_done();
  done->set_indexed_position(news.result->position());
  done->set_sessions(news.result->sessions());
  done->set_segments(news.result->segments());
  done->set_left_out(news.result->damage_count() +
                     news.result->unopened_records() +
                     news.result->unreadable_headers());
  writer->Write(response);
  return grpc::Status::OK;
}

}  // namespace diptych::indexer
