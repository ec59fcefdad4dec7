#ifndef INDEXER_RETRIEVAL_CALL_STREAMS_H_
#define INDEXER_RETRIEVAL_CALL_STREAMS_H_

#include <cstdint>
#include <functional>
#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/log/record.h"
#include "indexer/retrieval/bundle_export.h"
#include "indexer/retrieval/session_export.h"
#include "proto/api/v1/media.pb.h"

namespace diptych::indexer {

// Gathers bytes of files into pieces of at most limits::kReadData_bytes, each
// of one file and without a hole. Not thread-safe.
class Pieces {
 public:
  using Send = std::function<absl::Status(const std::string& path,
                                          uint64_t offset, std::string bytes)>;

  explicit Pieces(Send send) : send_(std::move(send)) {}

  absl::Status Write(absl::string_view path, uint64_t offset,
                     absl::string_view bytes);
  absl::Status Flush();

 private:
  const Send send_;
  std::string path_;
  // Where pending_ belongs.
  uint64_t offset_ = 0;
  std::string pending_;
};

// Puts an export on a call's stream.
class FileReceiver : public ExportReceiver {
 public:
  FileReceiver(grpc::ServerContext* context,
               grpc::ServerWriter<api::v1::ReadResponse>* writer,
               log::Position access_log_position);

  absl::Status Start(api::v1::ReadStarted started) override;
  absl::Status Write(uint64_t offset, absl::string_view bytes) override;
  absl::Status Flush() override;
  absl::Status Finish(api::v1::ReadFinished finished);

 private:
  absl::Status Send(const api::v1::ReadResponse& response);

  grpc::ServerContext* const context_;
  grpc::ServerWriter<api::v1::ReadResponse>* const writer_;
  const log::Position access_log_position_;
  Pieces pieces_;
};

// Puts a bundle on a call's stream.
class BundleStream : public BundleReceiver {
 public:
  BundleStream(grpc::ServerContext* context,
               grpc::ServerWriter<api::v1::ReadBundleResponse>* writer,
               log::Position access_log_position);

  absl::Status Start(api::v1::ReadStarted started) override;
  absl::Status Write(absl::string_view path, uint64_t offset,
                     absl::string_view bytes) override;
  absl::Status Flush() override;
  absl::Status Finish(api::v1::ReadFinished finished);

 private:
  absl::Status Send(const api::v1::ReadBundleResponse& response);

  grpc::ServerContext* const context_;
  grpc::ServerWriter<api::v1::ReadBundleResponse>* const writer_;
  const log::Position access_log_position_;
  Pieces pieces_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_CALL_STREAMS_H_
