#ifndef INDEXER_BUILDER_SESSION_STATE_H_
#define INDEXER_BUILDER_SESSION_STATE_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <google/protobuf/message_lite.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// One session while records of it are taken into the index. The Apply methods
// put rows that stand alone (chunks, events, ...) into a batch at once; Flush
// puts the session's row, runs and postings, as the difference to what is
// there. Not thread-safe.
class SessionState {
 public:
  // A session that the index does not know yet.
  SessionState(const seal::IndexKeys* keys, const base::Uuid& session,
               int64_t start_time_us, log::Position opened_position);

  // As the index has it; nullopt if it does not know the session.
  static absl::StatusOr<std::optional<SessionState>> Load(
      const IndexView& view, const base::Uuid& session);

  SessionState(SessionState&&) = default;
  SessionState& operator=(SessionState&&) = default;

  const stored::v1::SessionRow& row() const { return row_; }

  void ApplyOpened(const stored::v1::SessionOpened& opened);
  // A later epoch, or one whose opening was lost.
  void AddEpoch(uint64_t epoch, log::Position key_position);
  // The epoch's root keys were wrapped again. False if it is not known.
  bool MoveKeys(uint64_t epoch, log::Position key_position);
  void MarkOpeningLost();
  // A record that the next manifest will name, whatever else it says.
  void NoteRecord(log::RecordType type, log::Position position);
  // `description` is nullptr if it could not be opened.
  void ApplySpan(const stored::v1::SpanStarted& span,
                 const stored::v1::SpanDescription* description,
                 log::Position position, IndexBatch* batch);
  void ApplyChunk(const stored::v1::Chunk& chunk,
                  const log::StoredRecord& record, IndexBatch* batch);
  // `list` is nullptr if it could not be opened. Notes whose numbers were seen
  // before are passed over.
  void ApplyNotes(const stored::v1::Notes& notes,
                  const stored::v1::NoteList* list, log::Position position,
                  IndexBatch* batch);
  void ApplyAttachmentPart(const stored::v1::AttachmentPart& part,
                           log::Position position, IndexBatch* batch);
  // Only its note's number counts: what it signs is for bundles to read.
  void ApplySourceDigest(const stored::v1::SourceDigest& digest);
  // Returns false if the segment was there already.
  bool ApplySegment(const stored::v1::Segment& segment, log::Position position);
  void ApplyStateChanged(const stored::v1::StateChanged& changed,
                         log::Position position, IndexBatch* batch);
  void ApplyClockChanged(const stored::v1::ClockChanged& changed,
                         log::Position position, IndexBatch* batch);
  void ApplyClosed(const stored::v1::SessionClosed& closed,
                   log::Position position, IndexBatch* batch);

  // Puts what changed since the last Flush.
  void Flush(IndexBatch* batch);

 private:
  using Token = std::array<char, seal::IndexKeys::kToken_bytes>;
  struct Posting {
    uint32_t run;
    Token token;
    log::Position position;

    // Without the position: which posting it is.
    bool SamePlace(const Posting& other) const {
      return run == other.run && token == other.token;
    }
    friend auto operator<=>(const Posting&, const Posting&) = default;
  };
  // What row and segments come to.
  struct Plan {
    std::vector<RunPlan> runs;
    std::vector<Posting> postings;
  };

  explicit SessionState(const seal::IndexKeys* keys) : keys_(keys) {}

  Plan MakePlan();
  std::vector<Posting> MakePostings(const std::vector<RunPlan>& runs,
                                    const std::vector<TagSpan>& tags) const;
  void FlushPlan(IndexBatch* batch);
  stored::v1::SideRow* MutableSide(stored::v1::Side side);
  // Returns false if it was seen before.
  bool MarkNotes(stored::v1::Side side, uint64_t first, uint64_t last);
  void AddTagNote(const stored::v1::TagUpdate& update, int64_t at_us,
                  log::Position position);
  void AddEventTag(const std::string& type, int64_t at_us,
                   log::Position position);
  void CountTagNote(const stored::v1::TagNote& note);
  void PutDetail(DetailKind kind, uint32_t number,
                 const google::protobuf::MessageLite& row, IndexBatch* batch);
  // Under the next number.
  void PutNextDetail(DetailKind kind, const google::protobuf::MessageLite& row,
                     IndexBatch* batch);
  // An event that no gateway sent: the archive's own records tell of it.
  void AddOwnEvent(const stored::v1::EventRow& row, log::Position position,
                   IndexBatch* batch);
  void AddSilence(const stored::v1::Gap& gap, log::Position position,
                  IndexBatch* batch);

  const seal::IndexKeys* keys_;
  base::Uuid session_;
  stored::v1::SessionRow row_;
  std::vector<stored::v1::SegmentRow> segments_;
  // Not stored yet.
  std::set<uint32_t> new_segments_;
  // What the index holds; empty for a session that it does not know yet.
  Plan posted_;
  // Of all tag notes, and the event types among them.
  size_t tag_values_ = 0;
  std::set<std::string> event_types_;
  // Tags, segments or the end have changed.
  bool plan_changed_ = true;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_SESSION_STATE_H_
