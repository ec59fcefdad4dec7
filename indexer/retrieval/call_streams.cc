#include "indexer/retrieval/call_streams.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "proto/api/v1/media.pb.h"

namespace diptych::indexer {
namespace {

absl::Status CallEnded() { return absl::CancelledError("the call ended"); }

}  // namespace

absl::Status Pieces::Write(absl::string_view path, uint64_t offset,
                           absl::string_view bytes) {
  if (offset != offset_ + pending_.size() || path != path_) {
    RETURN_IF_ERROR(Flush());
    path_ = std::string(path);
    offset_ = offset;
  }
  while (!bytes.empty()) {
    const size_t part =
        std::min(bytes.size(), limits::kReadData_bytes - pending_.size());
    pending_.append(bytes.data(), part);
    bytes.remove_prefix(part);
    if (pending_.size() == limits::kReadData_bytes) RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status Pieces::Flush() {
  if (pending_.empty()) return absl::OkStatus();
  const uint64_t offset = offset_;
  offset_ += pending_.size();
  return send_(path_, offset, std::exchange(pending_, std::string()));
}

FileReceiver::FileReceiver(grpc::ServerContext* context,
                           grpc::ServerWriter<api::v1::ReadResponse>* writer,
                           log::Position access_log_position)
    : context_(context),
      writer_(writer),
      access_log_position_(access_log_position),
      pieces_([this](const std::string&, uint64_t offset, std::string bytes) {
        api::v1::ReadResponse response;
        response.mutable_data()->set_offset(offset);
        response.mutable_data()->set_data(std::move(bytes));
        return Send(response);
      }) {}

absl::Status FileReceiver::Send(const api::v1::ReadResponse& response) {
  return writer_->Write(response) ? absl::OkStatus() : CallEnded();
}

absl::Status FileReceiver::Start(api::v1::ReadStarted started) {
  started.set_access_log_position(access_log_position_);
  api::v1::ReadResponse response;
  *response.mutable_started() = std::move(started);
  return Send(response);
}

absl::Status FileReceiver::Write(uint64_t offset, absl::string_view bytes) {
  return pieces_.Write("", offset, bytes);
}

absl::Status FileReceiver::Flush() {
  RETURN_IF_ERROR(pieces_.Flush());
  return context_->IsCancelled() ? CallEnded() : absl::OkStatus();
}

absl::Status FileReceiver::Finish(api::v1::ReadFinished finished) {
  RETURN_IF_ERROR(pieces_.Flush());
  api::v1::ReadResponse response;
  *response.mutable_finished() = std::move(finished);
  return Send(response);
}

BundleStream::BundleStream(
    grpc::ServerContext* context,
    grpc::ServerWriter<api::v1::ReadBundleResponse>* writer,
    log::Position access_log_position)
    : context_(context),
      writer_(writer),
      access_log_position_(access_log_position),
      pieces_(
          [this](const std::string& path, uint64_t offset, std::string bytes) {
            api::v1::ReadBundleResponse response;
            response.mutable_file()->set_path(path);
            response.mutable_file()->set_offset(offset);
            response.mutable_file()->set_data(std::move(bytes));
            return Send(response);
          }) {}

absl::Status BundleStream::Send(const api::v1::ReadBundleResponse& response) {
  return writer_->Write(response) ? absl::OkStatus() : CallEnded();
}

absl::Status BundleStream::Start(api::v1::ReadStarted started) {
  started.set_access_log_position(access_log_position_);
  api::v1::ReadBundleResponse response;
  *response.mutable_started() = std::move(started);
  return Send(response);
}

absl::Status BundleStream::Write(absl::string_view path, uint64_t offset,
                                 absl::string_view bytes) {
  return pieces_.Write(path, offset, bytes);
}

absl::Status BundleStream::Flush() {
  RETURN_IF_ERROR(pieces_.Flush());
  return context_->IsCancelled() ? CallEnded() : absl::OkStatus();
}

absl::Status BundleStream::Finish(api::v1::ReadFinished finished) {
  RETURN_IF_ERROR(pieces_.Flush());
  api::v1::ReadBundleResponse response;
  *response.mutable_finished() = std::move(finished);
  return Send(response);
}

}  // namespace diptych::indexer
