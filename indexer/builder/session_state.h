#ifndef INDEXER_BUILDER_SESSION_STATE_H_
#define INDEXER_BUILDER_SESSION_STATE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include <google/protobuf/message_lite.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/session_plan.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/row_sink.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// One session while records of it are taken into the index. The Apply methods
// put rows that stand alone (chunks, events, ...) at once; Flush puts the
// session's row, segments, runs and postings, as the difference to what is
// there. Reads nothing but what Load reads. Not thread-safe.
class SessionState {
 public:
  // A session that the index does not know yet.
  SessionState(const seal::IndexKeys* keys, const base::Uuid& session,
               SessionNumber number, int64_t start_time_us,
               log::Position opened_position);

  // As the index has it; nullopt if it does not know the session.
  static absl::StatusOr<std::optional<SessionState>> Load(
      const IndexView& view, const base::Uuid& session);

  SessionState(SessionState&&) = default;
  SessionState& operator=(SessionState&&) = default;

  const base::Uuid& session() const { return session_; }
  SessionNumber number() const { return number_; }
  const stored::v1::SessionRow& row() const { return row_; }
  bool closed() const {
    return row_.closed() != stored::v1::CLOSE_REASON_UNSPECIFIED;
  }

  void ApplyOpened(const stored::v1::SessionOpened& opened,
                   log::Position position);
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
                 log::Position position, RowSink* sink);
  void ApplyChunk(const stored::v1::Chunk& chunk,
                  const log::StoredRecord& record, RowSink* sink);
  // `list` is nullptr if it could not be opened. Notes whose numbers were seen
  // before are passed over.
  void ApplyNotes(const stored::v1::Notes& notes,
                  const stored::v1::NoteList* list, log::Position position,
                  RowSink* sink);
  void ApplyAttachmentPart(const stored::v1::AttachmentPart& part,
                           log::Position position, RowSink* sink);
  // Only its note's number counts: what it signs is for bundles to read.
  void ApplySourceDigest(const stored::v1::SourceDigest& digest);
  // Returns false if the segment was there already. If that was another epoch's
  // (a forgotten session whose id was used anew), this one counts as unopened.
  bool ApplySegment(const stored::v1::Segment& segment, log::Position position);
  void ApplyStateChanged(const stored::v1::StateChanged& changed,
                         log::Position position, RowSink* sink);
  void ApplyClockChanged(const stored::v1::ClockChanged& changed,
                         log::Position position, RowSink* sink);
  void ApplyClosed(const stored::v1::SessionClosed& closed,
                   log::Position position, RowSink* sink);

  // Puts what changed since the last Flush.
  void Flush(RowSink* sink);

 private:
  SessionState(const seal::IndexKeys* keys, const base::Uuid& session,
               SessionNumber number);

  // What the row says now holds since `position`.
  void AddPastState(log::Position position);
  stored::v1::SideRow* MutableSide(stored::v1::Side side);
  // Returns false if it was seen before.
  bool MarkNotes(stored::v1::Side side, uint64_t first, uint64_t last);
  void AddTagNote(const stored::v1::TagUpdate& update, int64_t at_us,
                  log::Position position);
  void AddEventTag(const std::string& type, int64_t at_us,
                   log::Position position);
  void CountTagNote(const stored::v1::TagNote& note);
  void PutDetail(DetailKind kind, uint32_t number,
                 const google::protobuf::MessageLite& row, RowSink* sink);
  // Under the next number.
  void PutNextDetail(DetailKind kind, const google::protobuf::MessageLite& row,
                     RowSink* sink);
  // An event that no gateway sent: the archive's own records tell of it.
  void AddOwnEvent(const stored::v1::EventRow& row, log::Position position,
                   RowSink* sink);
  void AddSilence(const stored::v1::Gap& gap, log::Position position,
                  RowSink* sink);

  const seal::IndexKeys* keys_;
  base::Uuid session_;
  SessionNumber number_;
  stored::v1::SessionRow row_;
  SessionPlan plan_;
  // Of all tag notes, and the event types among them.
  size_t tag_values_ = 0;
  std::set<std::string> event_types_;
  // The row that says which number the session has is put once.
  bool known_ = false;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_SESSION_STATE_H_
