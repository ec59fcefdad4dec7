#include "tools/diptychd/writer_link.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"
#include "indexer/access/access_recorder.h"
#include "indexer/access/grpc_access_recorder.h"
#include "proto/api/v1/archive_log.grpc.pb.h"
#include "proto/api/v1/archive_log.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::daemon {
namespace {

constexpr size_t kMaxAddress_bytes = 1024;
constexpr absl::Duration kFirstPause = absl::Milliseconds(20);
constexpr absl::Duration kLongestPause = absl::Seconds(1);

}  // namespace

WriterLink::WriterLink(Options options)
    : options_(std::move(options)), thread_([this] { Run(); }) {}

WriterLink::~WriterLink() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->TryCancel();
    changed_.NotifyAll();
  }
  thread_.join();
}

bool WriterLink::WaitConnected(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  base::MutexLock lock(&mutex_);
  while (recorder_ == nullptr) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return true;
}

absl::StatusOr<log::Position> WriterLink::Record(
    const stored::v1::AccessRecord& record) {
  std::shared_ptr<indexer::AccessRecorder> recorder;
  {
    base::MutexLock lock(&mutex_);
    recorder = recorder_;
  }
  if (recorder == nullptr) {
    return absl::UnavailableError(
        "the archive's writer is not there to take the access record, so "
        "nothing may be read; try again when it is back");
  }
  return recorder->Record(record);
}

bool WriterLink::Pause(absl::Duration duration) {
  const absl::Time deadline = absl::Now() + duration;
  base::MutexLock lock(&mutex_);
  while (!stopping_) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) break;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return !stopping_;
}

void WriterLink::Run() {
  absl::Duration pause = kFirstPause;
  do {
    const absl::StatusOr<std::string> address =
        base::ReadWholeFile(options_.address_file, kMaxAddress_bytes);
    if (address.ok()) {
      const absl::Duration before = pause;
      FollowOnce(std::string(absl::StripAsciiWhitespace(*address)));
      // A connection that held was worth a quick new try.
      pause = before;
    }
    pause = std::min(2 * pause, kLongestPause);
    {
      base::MutexLock lock(&mutex_);
      if (recorder_ != nullptr) pause = kFirstPause;
      recorder_ = nullptr;
    }
    options_.follower->SetWriterUnreachable();
  } while (Pause(pause));
}

void WriterLink::FollowOnce(const std::string& address) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = options_.identity.ca_pem;
  tls.pem_cert_chain = options_.identity.certificate_pem;
  tls.pem_private_key = options_.identity.private_key_pem;
  grpc::ChannelArguments arguments;
  // Not shared with channels to a writer that was here before.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  const std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
  const auto stub = api::v1::ArchiveLog::NewStub(channel);
  grpc::ClientContext call;
  {
    base::MutexLock lock(&mutex_);
    if (stopping_) return;
    call_ = &call;
  }
  const auto reader = stub->Follow(&call, api::v1::FollowRequest());
  api::v1::FollowResponse response;
  bool connected = false;
  while (reader->Read(&response)) {
    if (!connected) {
      connected = true;
      base::MutexLock lock(&mutex_);
      recorder_ = std::make_shared<indexer::GrpcAccessRecorder>(
          channel, options_.archive);
      changed_.NotifyAll();
    }
    options_.follower->SetDurableEnd(response.durable_end());
  }
  const grpc::Status status = reader->Finish();
  base::MutexLock lock(&mutex_);
  call_ = nullptr;
  if (connected && !stopping_) {
    base::LogLine(base::Severity::kWarning, "the writer went away",
                  {{"address", address}, {"error", status.error_message()}});
  } else if (status.error_code() == grpc::StatusCode::PERMISSION_DENIED ||
             status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    base::LogLine(base::Severity::kError, "the writer refuses this reader",
                  {{"address", address}, {"error", status.error_message()}});
  }
}

}  // namespace diptych::daemon
