#ifndef ARCHIVER_INGEST_SESSION_H_
#define ARCHIVER_INGEST_SESSION_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/latency.h"
#include "archiver/base/mutex.h"
#include "archiver/evidence/leaf_prover.h"
#include "archiver/ingest/coverage.h"
#include "archiver/ingest/session_writer.h"
#include "archiver/ingest/source_check.h"
#include "archiver/ingest/track_clock.h"
#include "archiver/ingest/unfinished_session.h"
#include "archiver/log/committer.h"
#include "archiver/log/record.h"
#include "archiver/media/interleaver.h"
#include "archiver/media/packet_table.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// The gateway's end of a stream, as a session sees it. Thread-safe; calls never
// block and never call back into the session.
class StreamSink {
 public:
  virtual ~StreamSink() = default;

  virtual void Send(api::v1::RecordResponse response) = 0;
  // Like Send, but a newer one takes an unsent older one's place.
  virtual void SendDurable(const api::v1::SideProgress& progress) = 0;
  // This side is refused from here on, the stream's other one goes on.
  virtual void FailSide(api::v1::Side side, const absl::Status& status) = 0;
  // Ends the stream after what was sent. Later calls do nothing.
  virtual void Finish(const absl::Status& status) = 0;
  // There is room again: reads on.
  virtual void Resume() = 0;
};

// What all sessions share. Members outlive the sessions.
struct SessionContext {
  const stored::v1::ArchiveConfig* archive = nullptr;
  base::Clock* clock = nullptr;
  // Why no new session can be taken; null: there is always room. Thread-safe.
  std::function<absl::Status()> admit;
  log::Committer* log = nullptr;
  log::Committer* key_store = nullptr;
  // Proves receipts; null: they go without.
  evidence::LeafProver* prover = nullptr;
  // Received and not yet durable, over all sessions.
  std::atomic<size_t> undurable_bytes = 0;
  // From a chunk's cut to its being durable.
  base::LatencyHistogram cut_to_durable;
  // Packets acknowledged again that were too old to compare.
  std::atomic<uint64_t> old_replays = 0;
};

// One session's actor: checks what gateways send, interleaves both sides, cuts
// chunks, and tells each side what is durable. Thread-safe; everything happens
// under the session's own lock, and no lock is taken across sessions but the
// commit queue's. Held by shared_ptr, since commits call back.
class Session : public std::enable_shared_from_this<Session> {
 public:
  // A new session, or (with `before`) one that the log says was open when the
  // writer last stopped. Starts wrapping its keys at once.
  // `on_closed` is called once, from a commit thread, when the session is
  // closed durably; the session may be forgotten then.
  static absl::StatusOr<std::shared_ptr<Session>> Create(
      SessionContext* context, const base::Uuid& id, int64_t start_time_us,
      const std::string& gateway, const UnfinishedSession* before,
      std::function<void(const base::Uuid&)> on_closed);

  // Takes the sides over for `sink`, also from a stream that still lives: the
  // newer wins, the older is told. `opened` is sent once the session's keys are
  // durable and everything that came of the sides before; `sink` may send
  // nothing ahead of it. `open` has passed CheckOpen.
  absl::Status Attach(const std::shared_ptr<StreamSink>& sink,
                      const api::v1::Open& open) ABSL_LOCKS_EXCLUDED(mutex_);

  // A sink is gone. What it had sent is made durable; with `tell`, the sink is
  // then finished with that status.
  void Detach(const std::shared_ptr<StreamSink>& sink,
              std::optional<absl::Status> tell) ABSL_LOCKS_EXCLUDED(mutex_);

  // The error's detail names the side at fault where one is. Packets before the
  // one at fault are taken.
  absl::Status OnPacket(const std::shared_ptr<StreamSink>& sink,
                        api::v1::Packet packet) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status OnNotes(const std::shared_ptr<StreamSink>& sink,
                       const api::v1::Notes& notes) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status OnTracksChanged(const std::shared_ptr<StreamSink>& sink,
                               const api::v1::OpenSide& side)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // `failed` sides are ended as they are, whatever `close` says of them.
  absl::Status OnClose(const std::shared_ptr<StreamSink>& sink,
                       const api::v1::Close& close,
                       const std::set<api::v1::Side>& failed)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the sides that `sink` was attached to, those that it still carries.
  std::set<api::v1::Side> SidesOf(const std::shared_ptr<StreamSink>& sink) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Cuts what is due. To be called after a message's packets and from time to
  // time. Says so if a side is missing or has stalled, and closes the session
  // as abandoned if nobody has sent for too long.
  void Tick() ABSL_LOCKS_EXCLUDED(mutex_);

  // True if `sink` may go on reading; false if it is told to with Resume later.
  bool ReadyForMore(const std::shared_ptr<StreamSink>& sink)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Makes everything durable, tells the gateways, and takes no more.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);
  bool drained() const ABSL_LOCKS_EXCLUDED(mutex_);
  // True once nothing more can be done with it.
  bool failed() const ABSL_LOCKS_EXCLUDED(mutex_);
  // True while none of its records is on its way to the log, so that what the
  // log says of the session is all there is.
  bool settled() const ABSL_LOCKS_EXCLUDED(mutex_);

  const base::Uuid& id() const { return id_; }

 private:
  // In the order of sides_.
  static constexpr std::array<stored::v1::Side, 2> kSides = {
      stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK};

  enum class State { kOpening, kOpen, kClosing, kClosed, kFailed };

  struct Replay {
    uint64_t sequence = 0;
    std::string sha256;
  };

  struct SideState {
    bool opened = false;
    bool ended = false;
    std::vector<api::v1::Track> tracks;
    std::shared_ptr<StreamSink> sink;
    uint64_t received = 0;
    uint64_t durable = 0;
    // Numbers up to this one came to an earlier actor.
    uint64_t received_before = 0;
    uint64_t notes_received = 0;
    uint64_t notes_durable = 0;
    uint64_t declared = 0;
    stored::v1::SideTotals totals;
    // `opened` has been sent to its sink, which may send and be told from then
    // on.
    bool told = false;
    // When its last packet came, or it was first expected.
    absl::Duration last_heard;
    std::deque<Replay> window;
  };

  struct TrackState {
    stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
    TrackClock clock;
    bool video = false;
    bool started = false;
    // Session time.
    std::optional<int64_t> last_key_pts_us;
    std::optional<int64_t> key_asked_at_us;
  };

  // Goes into the log ahead of the chunk that has its first packet.
  struct PendingClock {
    stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
    stored::v1::ClockChanged changed;
  };

  Session(SessionContext* context, const base::Uuid& id,
          std::function<void(const base::Uuid&)> on_closed);

  absl::Status Start(int64_t start_time_us, const std::string& gateway,
                     const UnfinishedSession* before)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void OnKeysDurable(const absl::StatusOr<log::Position>& key_position,
                     stored::v1::SessionOpened opened)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void OnOpenedDurable(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status CheckUsable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  SideState& side(stored::v1::Side side) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return sides_[side == stored::v1::SIDE_RESIDENT ? 0 : 1];
  }
  absl::StatusOr<stored::v1::Side> SideOfSink(
      const std::shared_ptr<StreamSink>& sink, api::v1::Side side) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Why `sink` can't send for a side that is not its own.
  absl::Status NotOfSink(api::v1::Side side) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Handles a number that was used before. OK: acknowledged again.
  absl::Status CheckReplay(SideState* state, stored::v1::Side side,
                           const api::v1::Packet& packet)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives a packet its session time.
  void Place(stored::v1::Side side, TrackState* track,
             media::PacketInfo* packet) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeAnchor(const api::v1::ClockAnchor& anchor)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SetSideTracks(stored::v1::Side side,
                             const api::v1::OpenSide& tracks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status TakeNote(stored::v1::Side side, const api::v1::Note& note,
                        stored::v1::NoteList* list,
                        std::vector<log::Record>* records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Keeps the notes in the order of their numbers before a record of its own.
  void FlushNotes(stored::v1::Side side, stored::v1::NoteList* list,
                  std::vector<log::Record>* records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendOpened(const std::shared_ptr<StreamSink>& sink)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sends it once everything that is on its way to the log is durable.
  absl::Status QueueOpened() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Cuts chunks: those that are due, or (with `all`) everything.
  void Cut(bool all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsDue(int64_t head_dts_us) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where the chunk that begins with `head_dts_us` ends.
  int64_t ChunkLimit(int64_t head_dts_us) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<stored::v1::Gap> TakeGaps(
      const std::vector<media::PendingPacket>& packets)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The clock records that belong ahead of `packets`.
  void TakeClocks(const std::vector<media::PendingPacket>& packets,
                  std::vector<log::Record>* records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Says so if a side is missing or has stalled, or is back.
  void WatchSides() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ChangeState(stored::v1::SessionState state,
                   std::vector<stored::v1::SideTrouble> troubles)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AskToSlowDown() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AskForKeyFrames(int64_t now_us) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Submits records and, once they are durable, tells both sides how far they
  // are. `released_bytes` count as undurable until then.
  void Commit(std::vector<log::Record> records, size_t released_bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BeginClose(stored::v1::CloseReason reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayClose() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ResumeParked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::set<std::shared_ptr<StreamSink>> Sinks() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What packets weigh in memory while they wait.
  static size_t HeldBytes(size_t payload_bytes, size_t packets) {
    return payload_bytes + packets * sizeof(media::PendingPacket);
  }
  void AddUndurable(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReleaseUndurable(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  SessionContext* const context_;
  const base::Uuid id_;
  const std::function<void(const base::Uuid&)> on_closed_;

  mutable base::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kOpening;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  int64_t start_time_us_ ABSL_GUARDED_BY(mutex_) = 0;
  bool resumed_ ABSL_GUARDED_BY(mutex_) = false;
  // It goes on after a restart of the writer, which is still to be said.
  bool recovered_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<stored::v1::SideTrouble> troubles_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool more_sides_expected_ ABSL_GUARDED_BY(mutex_) = false;
  std::array<SideState, 2> sides_ ABSL_GUARDED_BY(mutex_);
  std::map<uint32_t, TrackState> tracks_ ABSL_GUARDED_BY(mutex_);
  std::map<uint32_t, uint64_t> attachment_next_ ABSL_GUARDED_BY(mutex_);
  media::Interleaver interleaver_ ABSL_GUARDED_BY(mutex_);
  std::optional<SessionWriter> writer_ ABSL_GUARDED_BY(mutex_);
  SourceCheck source_check_ ABSL_GUARDED_BY(mutex_);
  Coverage coverage_ ABSL_GUARDED_BY(mutex_);
  std::deque<PendingClock> pending_clocks_ ABSL_GUARDED_BY(mutex_);
  size_t clock_changes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The tracks have changed since the last chunk.
  bool span_stale_ ABSL_GUARDED_BY(mutex_) = true;
  // A clock has jumped: what follows is no continuation of a known span.
  bool span_broken_ ABSL_GUARDED_BY(mutex_) = false;
  // Times at which timed tags change and that no chunk may reach across.
  std::set<int64_t> tag_times_us_ ABSL_GUARDED_BY(mutex_);
  // Where the last chunk ended.
  int64_t cut_until_us_ ABSL_GUARDED_BY(mutex_) = INT64_MIN;
  size_t undurable_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t commits_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::shared_ptr<StreamSink>> parked_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_activity_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_slow_down_ ABSL_GUARDED_BY(mutex_);
  // `opened` waits for the log; another stream has come meanwhile.
  bool opened_queued_ ABSL_GUARDED_BY(mutex_) = false;
  bool opened_wanted_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_SESSION_H_
