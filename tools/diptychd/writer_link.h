#ifndef TOOLS_DIPTYCHD_WRITER_LINK_H_
#define TOOLS_DIPTYCHD_WRITER_LINK_H_

#include <memory>
#include <string>
#include <thread>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/mutex.h"
#include "archiver/log/record.h"
#include "indexer/access/access_recorder.h"
#include "indexer/builder/log_follower.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptychd/server.h"

namespace diptych::daemon {

// The reader's connection to the writer's process: follows how far the log is
// durable, and has access records appended. Finds the writer by its address
// file, again after every break, since it may come back on another port.
// Thread-safe.
class WriterLink final : public indexer::AccessRecorder {
 public:
  struct Options {
    // DIR/run/ingest.address
    std::string address_file;
    // With the role indexer.
    TlsIdentity identity;
    stored::v1::ArchiveConfig archive;
    // Must outlive this.
    indexer::LogFollower* follower = nullptr;
  };

  // Starts a thread that follows.
  explicit WriterLink(Options options);
  ~WriterLink() override;

  // Waits for the writer to be there; false if `timeout` passes first.
  bool WaitConnected(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

  // UNAVAILABLE if there is no writer.
  absl::StatusOr<log::Position> Record(const stored::v1::AccessRecord& record)
      override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // One connection, until it breaks.
  void FollowOnce(const std::string& address) ABSL_LOCKS_EXCLUDED(mutex_);
  // False if it is time to stop.
  bool Pause(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  base::Mutex mutex_;
  // The writer came, or it is time to stop.
  base::CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Null while there is no connection.
  std::shared_ptr<indexer::AccessRecorder> recorder_ ABSL_GUARDED_BY(mutex_);
  // The call at hand, so that the destructor can end it.
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

}  // namespace diptych::daemon

#endif  // TOOLS_DIPTYCHD_WRITER_LINK_H_
