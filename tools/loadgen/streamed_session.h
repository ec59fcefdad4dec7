#ifndef TOOLS_LOADGEN_STREAMED_SESSION_H_
#define TOOLS_LOADGEN_STREAMED_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <grpcpp/support/status.h>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/loadgen/load_call.h"
#include "tools/loadgen/load_session.h"
#include "tools/loadgen/session_plan.h"

namespace diptych::loadgen {

// LoadSession over one stream, or one a side. streamed_session.cc has what goes
// out, session_answers.cc what comes in.
class StreamedSession final
    : public LoadSession,
      public LoadCall::Owner,
      public std::enable_shared_from_this<StreamedSession> {
 public:
  StreamedSession(const LoadContext* context, SessionPlan plan, size_t index,
                  absl::Duration length);

  void Wake(absl::Duration now) override;
  int64_t wake_at_us() const override { return wake_at_us_; }
  void EndEarly() override;
  void Abort() override;
  bool ended() const override { return ended_; }

  void OnResponse(LoadCall* call,
                  const api::v1::RecordResponse& response) override;
  void OnSent(LoadCall* call, bool ok) override;
  void OnInputEnd(LoadCall* call) override;
  void OnEnd(const LoadCall* call, const grpc::Status& status,
             std::shared_ptr<grpc::Channel> channel) override;

 private:
  // One message on its way.
  struct Timed {
    uint64_t last_sequence = 0;
    uint64_t packets = 0;
    int64_t sent_us = 0;
    // A break lay between.
    bool again = false;
  };
  struct Side {
    // How many packets it has in all.
    uint64_t final = 0;
    uint64_t next = 1;
    // The highest that was ever sent, and the highest that was acknowledged.
    uint64_t sent = 0;
    uint64_t durable = 0;
    // The last that an answer about this side named.
    uint64_t told = 0;
    std::deque<Timed> timed;
    // Numbered from 1. Those at the end come once all packets are sent.
    std::vector<api::v1::Note> notes;
    bool notes_complete = false;
    size_t notes_said = 0;
    uint64_t notes_durable = 0;
    // Index of the tracks that the present stream has been told.
    size_t told_tracks = 0;
  };
  // A stream, with the sides that it carries.
  struct Lane {
    std::vector<size_t> sides;
    LoadCall* call = nullptr;
    // What is being sent; not to be touched until OnSent.
    api::v1::RecordRequest request;
    bool sending = false;
    bool input_ended = false;
    bool opened = false;
    bool ever_opened = false;
    bool draining = false;
    bool close_sent = false;
    bool cancelled = false;
    bool done = false;
    int attempt = 0;
    int64_t retry_at_us = 0;
    int64_t paused_until_us = 0;
    int64_t heard_us = 0;
  };

  void Begin(int64_t now_us) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunLanes(int64_t now_us) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns when it wants to be looked at again.
  int64_t RunLane(Lane* lane, int64_t now_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Connect(Lane* lane, int64_t now_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Cancel(Lane* lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsOwedAnAnswer(const Lane& lane) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Fills lane->request; false if there is nothing to send yet. `wake_us` gets
  // when there may be.
  bool NextRequest(Lane* lane, int64_t now_us, int64_t* wake_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TakeNotes(Lane* lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TakePackets(Lane* lane, int64_t now_us, int64_t* wake_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeClose(Lane* lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The side whose next packet is due first; nullopt if all are through.
  std::optional<size_t> EarliestSide(const Lane& lane) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t DueAt(size_t side) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddOpenSide(size_t index, api::v1::OpenSide* open)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CompleteNotes(size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void HandleProgress(Lane* lane, const api::v1::SideProgress& progress,
                      bool opening, int64_t now_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleReceipt(const api::v1::Receipt& receipt, int64_t now_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MarkDurable(size_t index, uint64_t sequence, int64_t now_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Violation(const std::string& what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(const std::string& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Lane* LaneOf(const LoadCall* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RetryLater(Lane* lane, int64_t at_least_us, int64_t now_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteEnd() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const LoadContext context_;
  const SessionPlan plan_;
  const size_t index_;
  std::atomic<int64_t> wake_at_us_ = 0;
  std::atomic<bool> ended_ = false;

  base::Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  std::vector<Side> sides_ ABSL_GUARDED_BY(mutex_);
  std::vector<Lane> lanes_ ABSL_GUARDED_BY(mutex_);
  // Session time 0, by the monotonic clock and on the wall.
  int64_t zero_us_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time start_time_ ABSL_GUARDED_BY(mutex_);
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool opened_once_ ABSL_GUARDED_BY(mutex_) = false;
  bool receipt_seen_ ABSL_GUARDED_BY(mutex_) = false;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_STREAMED_SESSION_H_
