#include "indexer/builder/session_state.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <google/protobuf/message_lite.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/note_ranges.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/record_list.h"
#include "indexer/store/row_sink.h"
#include "indexer/store/session_number.h"
#include "indexer/store/steps.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::SegmentRow;

constexpr uint32_t kAdd = 1;
constexpr uint32_t kRemove = 3;
constexpr absl::string_view kEventKey = "event";

absl::string_view SideWord(stored::v1::Side side) {
  return side == stored::v1::SIDE_RESIDENT ? "resident" : "clerk";
}

void AddAttribute(absl::string_view key, absl::string_view value,
                  stored::v1::EventRow* row) {
  stored::v1::Attribute* attribute = row->mutable_event()->add_attributes();
  attribute->set_key(std::string(key));
  attribute->set_value(std::string(value));
}

// The mapping's offset at a raw time (records.proto).
int64_t OffsetAt_us(const stored::v1::ClockChanged& clock, int64_t raw_us) {
  // A header holds any number; the product of two does not fit into 64 bits.
  const double gained_us =
      (static_cast<double>(raw_us) - static_cast<double>(clock.raw_from_us())) *
      static_cast<double>(clock.rate_ppb()) / 1e9;
  return Add(clock.offset_us(), std::llround(gained_us));
}

}  // namespace

SessionState::SessionState(const seal::IndexKeys* keys,
                           const base::Uuid& session, SessionNumber number)
    : keys_(keys),
      session_(session),
      number_(number),
      plan_(keys, session, number) {}

SessionState::SessionState(const seal::IndexKeys* keys,
                           const base::Uuid& session, SessionNumber number,
                           int64_t start_time_us, log::Position opened_position)
    : SessionState(keys, session, number) {
  row_.set_session_id(std::string(session.bytes()));
  row_.set_start_time_us(start_time_us);
  row_.set_opened_position(opened_position);
  row_.set_number(number.value());
  AddPastState(opened_position);
}

absl::StatusOr<std::optional<SessionState>> SessionState::Load(
    const IndexView& view, const base::Uuid& session) {
  ASSIGN_OR_RETURN(auto row, view.Session(session));
  if (!row.has_value()) return std::nullopt;
  SessionState state(&view.keys(), session,
                     SessionNumber::FromValue(row->number()));
  state.row_ = *std::move(row);
  for (const auto& note : state.row_.tag_notes()) state.CountTagNote(note);
  RETURN_IF_ERROR(state.plan_.Load(view, state.row_));
  state.known_ = true;
  return state;
}

void SessionState::AddPastState(log::Position position) {
  auto* states = row_.mutable_past_states();
  if (!states->empty() && states->rbegin()->closed() == row_.closed() &&
      states->rbegin()->state() == row_.state()) {
    return;
  }
  stored::v1::PastState* state = states->Add();
  state->set_position(position);
  state->set_closed(row_.closed());
  state->set_state(row_.state());
  if (states->size() <= limits::kMaxPastStates) return;
  // The first stays: before it there was no session. The second becomes the
  // same once more, and so says that others came in between.
  if (states->Get(1).position() != states->Get(0).position()) {
    *states->Mutable(1) = states->Get(0);
  }
  states->erase(states->begin() + 2);
}

void SessionState::AddEpoch(uint64_t epoch, log::Position key_position) {
  for (const auto& known : row_.epochs()) {
    if (known.epoch() == epoch) return;
  }
  stored::v1::EpochRow* added = row_.add_epochs();
  added->set_epoch(epoch);
  added->set_key_position(key_position);
}

bool SessionState::MoveKeys(uint64_t epoch, log::Position key_position) {
  for (auto& known : *row_.mutable_epochs()) {
    if (known.epoch() != epoch) continue;
    known.set_key_position(key_position);
    return true;
  }
  return false;
}

void SessionState::ApplyOpened(const stored::v1::SessionOpened& opened,
                               log::Position position) {
  AddEpoch(opened.epoch(), opened.key_position());
  if (closed()) {
    row_.clear_closed();
    row_.clear_closed_time_us();
    row_.clear_closed_position();
    row_.clear_closed_sides();
    row_.clear_closed_gaps();
    row_.clear_state();
    row_.clear_clocks();
    plan_.MarkRowChanged();
    AddPastState(position);
  }
}

void SessionState::MarkOpeningLost() { row_.set_opening_lost(true); }

void SessionState::NoteRecord(log::RecordType type, log::Position position) {
  AppendRecord({type, position}, row_.mutable_unnamed_records());
}

stored::v1::SideRow* SessionState::MutableSide(stored::v1::Side side) {
  for (auto& row : *row_.mutable_sides()) {
    if (row.side() == side) return &row;
  }
  stored::v1::SideRow* row = row_.add_sides();
  row->set_side(side);
  return row;
}

void SessionState::PutDetail(DetailKind kind, uint32_t number,
                             const google::protobuf::MessageLite& row,
                             RowSink* sink) {
  std::string key = DetailKey(session_, kind, number);
  std::string sealed = keys_->SealRow(RowContext(Family::kDetails, key),
                                      row.SerializeAsString());
  sink->Put(Family::kDetails, std::move(key), std::move(sealed));
}

void SessionState::PutNextDetail(DetailKind kind,
                                 const google::protobuf::MessageLite& row,
                                 RowSink* sink) {
  PutDetail(kind, row_.next_detail(), row, sink);
  row_.set_next_detail(row_.next_detail() + 1);
}

void SessionState::AddOwnEvent(const stored::v1::EventRow& row,
                               log::Position position, RowSink* sink) {
  AddEventTag(row.event().type(), row.at_us(), position);
  PutNextDetail(DetailKind::kEvent, row, sink);
}

void SessionState::AddSilence(const stored::v1::Gap& gap,
                              log::Position position, RowSink* sink) {
  if (gap.track_id() == 0) return;
  stored::v1::EventRow row;
  row.set_at_us(gap.start_us());
  row.set_side(gap.side());
  row.mutable_event()->set_type("silence");
  AddAttribute("track", absl::StrCat(gap.track_id()), &row);
  AddAttribute("seconds",
               absl::StrFormat("%.3f", static_cast<double>(Between(
                                           gap.start_us(), gap.end_us())) /
                                           1e6),
               &row);
  AddOwnEvent(row, position, sink);
}

void SessionState::ApplySpan(const stored::v1::SpanStarted& span,
                             const stored::v1::SpanDescription* description,
                             log::Position position, RowSink* sink) {
  stored::v1::SpanRow row;
  row.set_span(span.span());
  row.set_epoch(span.epoch());
  row.set_segment(span.segment());
  row.set_position(position);
  if (description == nullptr) {
    row_.set_unopened_records(row_.unopened_records() + 1);
  } else {
    row.set_start_us(description->start_us());
    *row.mutable_tracks() = description->tracks();
  }
  PutDetail(DetailKind::kSpan, span.span(), row, sink);
}

void SessionState::ApplyChunk(const stored::v1::Chunk& chunk,
                              const log::StoredRecord& record, RowSink* sink) {
  stored::v1::ChunkRow row;
  row.set_chunk(chunk.chunk());
  row.set_span(chunk.span());
  row.set_segment(chunk.segment());
  row.set_epoch(chunk.epoch());
  row.set_position(record.position);
  row.set_record_bytes(static_cast<uint32_t>(record.end - record.position));
  row.set_start_us(chunk.start_us());
  row.set_end_us(chunk.end_us());
  row.set_window_start_us(chunk.window_start_us());
  row.set_window_end_us(chunk.window_end_us());
  *row.mutable_key_frames() = chunk.key_frames();
  row.set_has_gaps(chunk.gaps_size() > 0);
  for (const auto& side : chunk.sides()) {
    stored::v1::ChunkSideRow* numbers = row.add_sides();
    numbers->set_side(side.side());
    numbers->set_first_sequence(side.first_sequence());
    numbers->set_last_sequence(side.last_sequence());
  }
  sink->AddChunk(session_, row);

  uint64_t payload_bytes = 0;
  for (const auto& side : chunk.sides()) {
    stored::v1::SideRow* total = MutableSide(side.side());
    const bool first = total->packets() == 0;
    total->set_start_us(first ? side.start_us()
                              : std::min(total->start_us(), side.start_us()));
    total->set_end_us(first ? side.end_us()
                            : std::max(total->end_us(), side.end_us()));
    if (side.last_sequence() >= side.first_sequence()) {
      total->set_packets(total->packets() + side.last_sequence() -
                         side.first_sequence() + 1);
    }
    total->set_last_sequence(
        std::max(total->last_sequence(), side.last_sequence()));
    total->set_payload_bytes(total->payload_bytes() + side.payload_bytes());
    payload_bytes += side.payload_bytes();
  }
  row_.set_end_us(std::max(row_.end_us(), chunk.end_us()));
  row_.set_payload_bytes(row_.payload_bytes() + payload_bytes);
  stored::v1::PendingSegment* pending = nullptr;
  for (auto& known : *row_.mutable_pending_segments()) {
    if (known.segment() == chunk.segment()) pending = &known;
  }
  if (pending == nullptr) {
    pending = row_.add_pending_segments();
    pending->set_segment(chunk.segment());
  }
  pending->set_payload_bytes(pending->payload_bytes() + payload_bytes);
  for (const auto& gap : chunk.gaps()) {
    PutNextDetail(DetailKind::kGap, gap, sink);
    AddSilence(gap, record.position, sink);
  }
}

bool SessionState::MarkNotes(stored::v1::Side side, uint64_t first,
                             uint64_t last) {
  return AddNoteRange(first, last, MutableSide(side)->mutable_notes());
}

void SessionState::CountTagNote(const stored::v1::TagNote& note) {
  tag_values_ += static_cast<size_t>(std::max(1, note.values_size()));
  if (note.key() == kEventKey && note.operation() == kAdd &&
      note.values_size() == 1) {
    event_types_.insert(note.values(0));
  }
}

void SessionState::AddTagNote(const stored::v1::TagUpdate& update,
                              int64_t at_us, log::Position position) {
  bool good =
      !update.key().empty() &&
      update.key().size() <= limits::kMaxTagKey_bytes &&
      update.operation() >= kAdd && update.operation() <= kRemove &&
      tag_values_ + static_cast<size_t>(std::max(1, update.values_size())) <=
          limits::kMaxTagValuesPerSession;
  for (const std::string& value : update.values()) {
    // An empty value's token stands for the key alone.
    good = good && !value.empty() && value.size() <= limits::kMaxTagValue_bytes;
  }
  if (!good) {
    row_.set_refused_tag_notes(row_.refused_tag_notes() + 1);
    return;
  }
  stored::v1::TagNote* note = row_.add_tag_notes();
  note->set_key(update.key());
  *note->mutable_values() = update.values();
  note->set_operation(update.operation());
  note->set_at_us(at_us);
  note->set_position(position);
  CountTagNote(*note);
  plan_.MarkRowChanged();
}

void SessionState::AddEventTag(const std::string& type, int64_t at_us,
                               log::Position position) {
  // The same event many times is one tag.
  if (event_types_.contains(type)) return;
  stored::v1::TagUpdate update;
  update.set_key(std::string(kEventKey));
  update.add_values(type);
  update.set_operation(kAdd);
  AddTagNote(update, at_us, position);
}

void SessionState::ApplyNotes(const stored::v1::Notes& notes,
                              const stored::v1::NoteList* list,
                              log::Position position, RowSink* sink) {
  if (list == nullptr) {
    MarkNotes(notes.side(), notes.first_note(), notes.last_note());
    row_.set_unopened_records(row_.unopened_records() + 1);
    return;
  }
  for (const auto& note : list->notes()) {
    if (!MarkNotes(notes.side(), note.note(), note.note())) continue;
    switch (note.kind_case()) {
      case stored::v1::Note::kTag:
        AddTagNote(note.tag(), note.at_us(), position);
        break;
      case stored::v1::Note::kEvent: {
        const stored::v1::Event& event = note.event();
        stored::v1::EventRow row;
        row.set_at_us(note.at_us());
        row.set_side(notes.side());
        *row.mutable_event() = event;
        PutNextDetail(DetailKind::kEvent, row, sink);
        AddEventTag(event.type(), note.at_us(), position);
        if (event.attachment_id() != 0) {
          stored::v1::AttachmentRow attachment;
          attachment.set_attachment_id(event.attachment_id());
          attachment.set_size_bytes(event.attachment_bytes());
          attachment.set_media_type(event.attachment_media_type());
          PutDetail(DetailKind::kAttachment, event.attachment_id(), attachment,
                    sink);
        }
        break;
      }
      case stored::v1::Note::kClockAnchor:
        PutNextDetail(DetailKind::kClockAnchor, note.clock_anchor(), sink);
        break;
      case stored::v1::Note::KIND_NOT_SET:
        break;
    }
  }
}

void SessionState::ApplyAttachmentPart(const stored::v1::AttachmentPart& part,
                                       log::Position position, RowSink* sink) {
  if (!MarkNotes(part.side(), part.note(), part.note())) return;
  stored::v1::AttachmentPartRow row;
  row.set_offset(part.offset());
  row.set_segment(part.segment());
  row.set_epoch(part.epoch());
  row.set_position(position);
  std::string key =
      AttachmentPartKey(session_, part.attachment_id(), part.offset());
  std::string sealed = keys_->SealRow(RowContext(Family::kDetails, key),
                                      row.SerializeAsString());
  sink->Put(Family::kDetails, std::move(key), std::move(sealed));
}

void SessionState::ApplySourceDigest(const stored::v1::SourceDigest& digest) {
  MarkNotes(digest.statement().side(), digest.note(), digest.note());
}

bool SessionState::ApplySegment(const stored::v1::Segment& segment,
                                log::Position position) {
  SegmentRow row;
  row.set_segment(segment.segment());
  row.set_span(segment.span());
  row.set_epoch(segment.epoch());
  row.set_position(position);
  row.set_window_start_us(segment.window_start_us());
  row.set_window_end_us(segment.window_end_us());
  row.set_start_us(segment.start_us());
  row.set_end_us(segment.end_us());
  row.set_chunks(static_cast<uint32_t>(segment.chunks_size()));
  *row.mutable_tracks_without_key_frame() = segment.tracks_without_key_frame();
  *row.mutable_records() = row_.unnamed_records();
  const auto pending = std::find_if(
      row_.pending_segments().begin(), row_.pending_segments().end(),
      [&](const auto& known) { return known.segment() == segment.segment(); });
  const bool counted = pending != row_.pending_segments().end();
  if (counted) row.set_payload_bytes(pending->payload_bytes());
  switch (plan_.AddSegment(std::move(row))) {
    case SessionPlan::Added::kNew:
      break;
    case SessionPlan::Added::kKnown:
      return false;
    case SessionPlan::Added::kOther:
      row_.set_unopened_records(row_.unopened_records() + 1);
      return false;
  }
  if (counted) row_.mutable_pending_segments()->erase(pending);
  row_.clear_unnamed_records();
  row_.set_segments(plan_.segments());
  return true;
}

void SessionState::ApplyStateChanged(const stored::v1::StateChanged& changed,
                                     log::Position position, RowSink* sink) {
  row_.set_state(changed.state());
  plan_.MarkRowChanged();
  AddPastState(position);
  PutNextDetail(DetailKind::kStateChange, changed, sink);
  stored::v1::EventRow row;
  row.set_at_us(changed.at_us());
  if (changed.state() == stored::v1::SESSION_STATE_RECOVERED) {
    row.mutable_event()->set_type("session_recovered");
    AddOwnEvent(row, position, sink);
    return;
  }
  if (changed.state() != stored::v1::SESSION_STATE_DEGRADED) return;
  row.mutable_event()->set_type("session_degraded");
  for (const auto& trouble : changed.troubles()) {
    stored::v1::EventRow of_side = row;
    of_side.set_side(trouble.side());
    AddAttribute("side", SideWord(trouble.side()), &of_side);
    AddAttribute("trouble",
                 trouble.trouble() == stored::v1::TROUBLE_MISSING ? "missing"
                                                                  : "stalled",
                 &of_side);
    AddOwnEvent(of_side, position, sink);
  }
}

void SessionState::ApplyClockChanged(const stored::v1::ClockChanged& changed,
                                     log::Position position, RowSink* sink) {
  stored::v1::ClockChanged* known = nullptr;
  for (auto& clock : *row_.mutable_clocks()) {
    if (clock.track_id() == changed.track_id()) known = &clock;
  }
  // A crash before the packet that it begins with makes it come twice.
  if (known != nullptr && known->raw_from_us() == changed.raw_from_us() &&
      known->offset_us() == changed.offset_us() &&
      known->rate_ppb() == changed.rate_ppb()) {
    return;
  }
  PutNextDetail(DetailKind::kClockChange, changed, sink);
  // Without a record session time is raw time.
  const int64_t before_us =
      known == nullptr ? 0 : OffsetAt_us(*known, changed.raw_from_us());
  if (known == nullptr && changed.track_id() <= limits::kMaxTrackId) {
    known = row_.add_clocks();
  }
  if (known != nullptr) *known = changed;
  if (changed.reason() != stored::v1::CLOCK_REASON_JUMP) return;
  stored::v1::EventRow row;
  row.set_at_us(changed.at_us());
  row.set_side(changed.side());
  row.mutable_event()->set_type("clock_jumped");
  AddAttribute("track", absl::StrCat(changed.track_id()), &row);
  // What the media clock gained is what the offset lost, or should have lost.
  AddAttribute(
      "by_ms",
      absl::StrCat(
          Step(Add(changed.offset_us(), changed.residual_us()), before_us) /
          1000),
      &row);
  AddOwnEvent(row, position, sink);
}

void SessionState::ApplyClosed(const stored::v1::SessionClosed& closed,
                               log::Position position, RowSink* sink) {
  *row_.mutable_closed_gaps() = closed.gaps();
  for (const auto& gap : closed.gaps()) AddSilence(gap, position, sink);
  row_.set_closed(closed.reason());
  row_.set_closed_time_us(closed.record_time_us());
  row_.set_closed_position(position);
  *row_.mutable_closed_sides() = closed.sides();
  plan_.MarkRowChanged();
  AddPastState(position);
}

void SessionState::Flush(RowSink* sink) {
  plan_.Flush(row_, sink);
  row_.set_runs(plan_.runs());
  std::string key = SessionKey(number_);
  if (!known_) sink->Put(Family::kIds, IdKey(session_), key);
  known_ = true;
  std::string sealed = keys_->SealRow(RowContext(Family::kSessions, key),
                                      row_.SerializeAsString());
  sink->Put(Family::kSessions, std::move(key), std::move(sealed));
}

}  // namespace diptych::indexer
