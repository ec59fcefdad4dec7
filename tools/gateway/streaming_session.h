#ifndef TOOLS_GATEWAY_STREAMING_SESSION_H_
#define TOOLS_GATEWAY_STREAMING_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/ingest.grpc.pb.h"
#include "tools/gateway/gateway_session.h"
#include "tools/gateway/outbox.h"
#include "tools/gateway/spool.h"

namespace diptych::gateway {

// What GatewaySession::Start makes. A runner connects and writes, a reader and
// a watch live as long as a stream, and the spool's thread is the only one that
// waits for the disk.
class StreamingSession : public GatewaySession {
 public:
  using Stream =
      grpc::ClientReaderWriter<api::v1::RecordRequest, api::v1::RecordResponse>;

  explicit StreamingSession(SessionOptions options);
  ~StreamingSession() override;

  absl::Status WaitUntilOpen() override {
    return WaitUntilOpen(absl::InfiniteDuration());
  }
  absl::Status WaitUntilOpen(absl::Duration timeout) override;
  absl::Status WaitForRoom(api::v1::Side side, absl::Duration timeout) override;
  SessionCounters counters() const override;
  absl::Status SendPacket(api::v1::Side side, api::v1::Packet packet) override;
  absl::Status SendNote(api::v1::Side side, api::v1::Note note) override;
  absl::Status ChangeTracks(api::v1::Side side,
                            const std::vector<api::v1::Track>& tracks) override;
  absl::StatusOr<api::v1::Receipt> Close(absl::Duration timeout) override;
  void Abort() override;
  absl::Status side_status(api::v1::Side side) const override;
  api::v1::SideProgress durable(api::v1::Side side) const override;

 private:
  // ---- On the runner's thread ----
  void Run();
  // One stream from its beginning to its end. OK once the session is done.
  absl::Status RunStream();
  void ReadAll(Stream* stream);
  void WriteAll(Stream* stream, grpc::ClientContext* context);
  // Cancels a stream whose other end has died, even while a write waits.
  void Watch(grpc::ClientContext* context);
  bool WaitForOpened(grpc::ClientContext* context);
  std::optional<api::v1::RecordRequest> NextRequest()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  api::v1::RecordRequest CloseRequest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration WakeAt() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsStalled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WaitUntil(absl::Duration time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Backoff(int attempt, absl::Duration at_least, absl::Duration deadline);
  bool MayGiveUp() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- On the spool's thread ----
  void RunSpool();
  void OpenSpool();
  // Writes what is due; everything, if `all`.
  void WriteSpool(bool all);
  // One round of it; false if there was nothing to write.
  bool WriteSome(bool all, bool even_nothing, absl::Status* status);
  // False if nothing was to be read.
  bool ReadSpool();

  // ---- On the reader's thread ----
  void Handle(const api::v1::RecordResponse& response);
  void HandleLocked(const api::v1::RecordResponse& response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Why nothing more can be sent for `side`; OK if it can.
  absl::Status WhyStopped(api::v1::Side side) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // OK if `bytes` more may be kept.
  absl::Status CheckRoom(api::v1::Side side, size_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SessionOptions options_;
  mutable base::Mutex mutex_;
  // Anything below changed.
  base::CondVar changed_;
  // The spool's thread has something to do before its next tick.
  base::CondVar spool_wanted_;
  Outbox outbox_ ABSL_GUARDED_BY(mutex_);
  // Of the whole session.
  std::optional<absl::Status> failed_ ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, absl::Status> side_failures_ ABSL_GUARDED_BY(mutex_);
  bool aborted_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  bool ever_opened_ ABSL_GUARDED_BY(mutex_) = false;
  api::v1::Receipt receipt_ ABSL_GUARDED_BY(mutex_);

  // Of the present stream.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool close_sent_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration paused_until_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_heard_ ABSL_GUARDED_BY(mutex_);
  // Since when something is out without an answer.
  absl::Duration waiting_since_ ABSL_GUARDED_BY(mutex_);
  uint64_t reconnects_ ABSL_GUARDED_BY(mutex_) = 0;

  // The spool itself is touched by its thread alone; here is what the others
  // may know of it.
  const bool spooling_;
  std::shared_ptr<Spool> spool_;
  bool spool_ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool spool_stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool spool_keep_ ABSL_GUARDED_BY(mutex_) = true;
  // Renumberings that a crash must not forget are on their way to the disk.
  bool renumbering_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t spool_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status spool_status_ ABSL_GUARDED_BY(mutex_);
  // What could not be read again; stays.
  absl::Status spool_damage_ ABSL_GUARDED_BY(mutex_);
  // Only on the spool's thread.
  absl::Duration spool_synced_;
  absl::Duration spool_retry_;
  size_t damages_known_ = 0;

  std::thread spooler_;

  std::thread runner_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_STREAMING_SESSION_H_
