#include "archiver/log/open_sessions.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::log {
namespace {

template <typename Message>
absl::StatusOr<Message> Parse(RecordType type, absl::string_view bytes) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", RecordTypeName(type), " header does not parse"));
  }
  return message;
}

void ApplyChunkSide(const stored::v1::ChunkSide& from,
                    stored::v1::SideTotals* to) {
  if (to->packets() == 0) to->set_start_us(from.start_us());
  to->set_start_us(std::min(to->start_us(), from.start_us()));
  to->set_end_us(std::max(to->end_us(), from.end_us()));
  to->set_packets(to->packets() + from.last_sequence() - from.first_sequence() +
                  1);
  to->set_payload_bytes(to->payload_bytes() + from.payload_bytes());
  to->set_last_sequence(std::max(to->last_sequence(), from.last_sequence()));
}

// Of each track only the latest that holds for a packet in the log stays,
// beside those whose packets are still to come.
void ForgetOverruledClocks(const stored::v1::ChunkSide& side,
                           stored::v1::OpenSession* session) {
  auto* clocks = session->mutable_clocks();
  const auto overruled = [&](int index) {
    const stored::v1::ClockChanged& clock = clocks->Get(index);
    for (int later = index + 1; later < clocks->size(); ++later) {
      if (clocks->Get(later).track_id() == clock.track_id() &&
          clocks->Get(later).first_sequence() <= side.last_sequence()) {
        return clock.side() == side.side();
      }
    }
    return false;
  };
  for (int i = clocks->size() - 1; i >= 0; --i) {
    if (overruled(i)) clocks->DeleteSubrange(i, 1);
  }
}

}  // namespace

stored::v1::SideTotals* OpenSessions::MutableSide(
    stored::v1::OpenSession* session, stored::v1::Side side) {
  for (auto& totals : *session->mutable_sides()) {
    if (totals.side() == side) return &totals;
  }
  stored::v1::SideTotals* totals = session->add_sides();
  totals->set_side(side);
  return totals;
}

absl::StatusOr<stored::v1::OpenSession*> OpenSessions::Find(
    absl::string_view session_id) {
  ASSIGN_OR_RETURN(const base::Uuid id, base::Uuid::FromBytes(session_id));
  const auto found = open_.find(id);
  if (found == open_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("session ", id.ToString(), " is not open"));
  }
  return &found->second;
}

void OpenSessions::AddClosed(const base::Uuid& id,
                             stored::v1::ClosedSession closed) {
  if (closed_.insert_or_assign(id, std::move(closed)).second) {
    closed_order_.push_back(id);
  }
  while (closed_order_.size() > limits::kSnapshotClosedSessions) {
    closed_.erase(closed_order_.front());
    closed_order_.pop_front();
  }
}

const stored::v1::ClosedSession* OpenSessions::FindClosed(
    const base::Uuid& id) const {
  const auto found = closed_.find(id);
  return found == closed_.end() ? nullptr : &found->second;
}

absl::Status OpenSessions::Apply(RecordType type, absl::string_view header,
                                 absl::string_view body, Position position) {
  switch (type) {
    case RecordType::kVolumeHeader:
    case RecordType::kAccess:
    case RecordType::kKeysChanged:
    case RecordType::kKeyWraps:
      return absl::OkStatus();
    case RecordType::kSnapshot: {
      ASSIGN_OR_RETURN(const auto snapshot,
                       Parse<stored::v1::Snapshot>(type, body));
      // Written by this very fold, so it says nothing new to one that has seen
      // what came before.
      if (!open_.empty() || !closed_.empty()) return absl::OkStatus();
      for (const auto& session : snapshot.open_sessions()) {
        ASSIGN_OR_RETURN(const base::Uuid id,
                         base::Uuid::FromBytes(session.session_id()));
        open_[id] = session;
      }
      for (const auto& closed : snapshot.closed_sessions()) {
        ASSIGN_OR_RETURN(const base::Uuid id,
                         base::Uuid::FromBytes(closed.session_id()));
        AddClosed(id, closed);
      }
      return absl::OkStatus();
    }
    case RecordType::kSessionOpened: {
      ASSIGN_OR_RETURN(const auto opened,
                       Parse<stored::v1::SessionOpened>(type, header));
      ASSIGN_OR_RETURN(const base::Uuid id,
                       base::Uuid::FromBytes(opened.session_id()));
      stored::v1::OpenSession& session = open_[id];
      session.set_session_id(opened.session_id());
      session.set_epoch(opened.epoch());
      session.set_key_position(opened.key_position());
      session.set_last_record_time_us(opened.record_time_us());
      session.set_gateway(opened.gateway());
      session.add_pending_records(position);
      if (!opened.resumed()) {
        session.set_start_time_us(opened.start_time_us());
        session.set_state(stored::v1::SESSION_STATE_OPEN);
      }
      // Clocks whose first packet the crash took never came to hold.
      auto* clocks = session.mutable_clocks();
      for (int i = clocks->size() - 1; i >= 0; --i) {
        const stored::v1::ClockChanged& clock = clocks->Get(i);
        if (clock.first_sequence() >
            MutableSide(&session, clock.side())->last_sequence()) {
          clocks->DeleteSubrange(i, 1);
        }
      }
      return absl::OkStatus();
    }
    case RecordType::kSpanStarted: {
      ASSIGN_OR_RETURN(const auto span,
                       Parse<stored::v1::SpanStarted>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(span.session_id()));
      session->set_next_span(std::max(session->next_span(), span.span() + 1));
      session->add_pending_records(position);
      return absl::OkStatus();
    }
    case RecordType::kChunk: {
      ASSIGN_OR_RETURN(const auto chunk,
                       Parse<stored::v1::Chunk>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(chunk.session_id()));
      for (const auto& side : chunk.sides()) {
        ApplyChunkSide(side, MutableSide(session, side.side()));
        ForgetOverruledClocks(side, session);
      }
      session->set_next_chunk(chunk.chunk() + 1);
      session->set_next_segment(
          std::max(session->next_segment(), chunk.segment() + 1));
      session->set_last_record_time_us(chunk.record_time_us());
      stored::v1::PendingChunk* pending = session->add_pending_chunks();
      pending->set_chunk(chunk.chunk());
      pending->set_segment(chunk.segment());
      pending->set_span(chunk.span());
      pending->set_epoch(chunk.epoch());
      pending->set_position(position);
      pending->set_window_start_us(chunk.window_start_us());
      pending->set_window_end_us(chunk.window_end_us());
      pending->set_start_us(chunk.start_us());
      pending->set_end_us(chunk.end_us());
      return absl::OkStatus();
    }
    case RecordType::kNotes: {
      ASSIGN_OR_RETURN(const auto notes,
                       Parse<stored::v1::Notes>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(notes.session_id()));
      stored::v1::SideTotals* side = MutableSide(session, notes.side());
      side->set_last_note(std::max(side->last_note(), notes.last_note()));
      session->add_pending_records(position);
      session->set_last_record_time_us(notes.record_time_us());
      return absl::OkStatus();
    }
    case RecordType::kAttachmentPart: {
      ASSIGN_OR_RETURN(const auto part,
                       Parse<stored::v1::AttachmentPart>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(part.session_id()));
      stored::v1::SideTotals* side = MutableSide(session, part.side());
      side->set_last_note(std::max(side->last_note(), part.note()));
      session->add_pending_records(position);
      session->set_last_record_time_us(part.record_time_us());
      return absl::OkStatus();
    }
    case RecordType::kSegment: {
      ASSIGN_OR_RETURN(const auto segment,
                       Parse<stored::v1::Segment>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(segment.session_id()));
      session->set_next_segment(
          std::max(session->next_segment(), segment.segment() + 1));
      auto* pending = session->mutable_pending_chunks();
      pending->erase(std::remove_if(pending->begin(), pending->end(),
                                    [&](const stored::v1::PendingChunk& chunk) {
                                      return chunk.segment() ==
                                             segment.segment();
                                    }),
                     pending->end());
      session->set_manifest_sha256(evidence::ManifestHash(header));
      // It names them all.
      session->clear_pending_records();
      return absl::OkStatus();
    }
    case RecordType::kStateChanged: {
      ASSIGN_OR_RETURN(const auto changed,
                       Parse<stored::v1::StateChanged>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(changed.session_id()));
      session->set_state(changed.state());
      *session->mutable_troubles() = changed.troubles();
      session->add_pending_records(position);
      return absl::OkStatus();
    }
    case RecordType::kClockChanged: {
      ASSIGN_OR_RETURN(auto changed,
                       Parse<stored::v1::ClockChanged>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(changed.session_id()));
      *session->add_clocks() = std::move(changed);
      session->add_pending_records(position);
      return absl::OkStatus();
    }
    case RecordType::kSourceDigest: {
      ASSIGN_OR_RETURN(const auto digest,
                       Parse<stored::v1::SourceDigest>(type, header));
      ASSIGN_OR_RETURN(stored::v1::OpenSession* const session,
                       Find(digest.session_id()));
      stored::v1::SideTotals* side =
          MutableSide(session, digest.statement().side());
      side->set_last_note(std::max(side->last_note(), digest.note()));
      session->add_pending_records(position);
      return absl::OkStatus();
    }
    case RecordType::kSessionClosed: {
      ASSIGN_OR_RETURN(auto closed,
                       Parse<stored::v1::SessionClosed>(type, header));
      ASSIGN_OR_RETURN(const stored::v1::OpenSession* const session,
                       Find(closed.session_id()));
      ASSIGN_OR_RETURN(const base::Uuid id,
                       base::Uuid::FromBytes(closed.session_id()));
      stored::v1::ClosedSession entry;
      entry.set_session_id(closed.session_id());
      entry.set_start_time_us(session->start_time_us());
      entry.set_position(position);
      *entry.mutable_closed() = std::move(closed);
      // The record has them; snapshots stay small.
      entry.mutable_closed()->clear_records();
      open_.erase(id);
      AddClosed(id, std::move(entry));
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("record type ", static_cast<int>(type), " is not known"));
}

Record OpenSessions::MakeSnapshot(int64_t record_time_us) const {
  stored::v1::Snapshot snapshot;
  snapshot.set_record_time_us(record_time_us);
  for (const auto& [id, session] : open_) {
    *snapshot.add_open_sessions() = session;
  }
  for (const base::Uuid& id : closed_order_) {
    const auto found = closed_.find(id);
    if (found != closed_.end()) *snapshot.add_closed_sessions() = found->second;
  }
  return {RecordType::kSnapshot, "", snapshot.SerializeAsString()};
}

absl::StatusOr<OpenSessions> RecoverOpenSessions(const LogReader& reader,
                                                 uint64_t* skipped) {
  ASSIGN_OR_RETURN(const std::vector<VolumeInfo> volumes, reader.ListVolumes());
  Position from = 0;
  for (auto volume = volumes.rbegin(); volume != volumes.rend(); ++volume) {
    const absl::StatusOr<StoredRecord> header = reader.Read(volume->base);
    if (!header.ok()) continue;
    const absl::StatusOr<StoredRecord> second = reader.Read(header->end);
    if (second.ok() && second->type == RecordType::kSnapshot) {
      from = second->position;
      break;
    }
  }
  OpenSessions sessions;
  RETURN_IF_ERROR(reader
                      .Scan(
                          {.from = from, .bodies = false},
                          [&](const StoredRecord& record) {
                            if (!sessions
                                     .Apply(record.type, record.header,
                                            record.body, record.position)
                                     .ok()) {
                              ++*skipped;
                            }
                            return absl::OkStatus();
                          },
                          [](const Damage&) { return absl::OkStatus(); })
                      .status());
  return sessions;
}

}  // namespace diptych::log
