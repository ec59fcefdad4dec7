#include "archiver/ingest/request_check.h"

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/tag_keys.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/media/canonical.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {
namespace {

absl::Status CheckTag(api::v1::Side side, uint64_t note,
                      const api::v1::TagUpdate& tag) {
  RETURN_IF_ERROR(base::CheckTagKey(tag.key()));
  if (tag.operation() != api::v1::TAG_OPERATION_ADD &&
      tag.operation() != api::v1::TAG_OPERATION_SET &&
      tag.operation() != api::v1::TAG_OPERATION_REMOVE) {
    return BadNote(side, note,
                   absl::StrCat("the tag ", tag.key(), " has no operation"));
  }
  if (tag.key() == "event") {
    return BadNote(side, note, "the tag event comes from events only");
  }
  if (static_cast<size_t>(tag.values_size()) > limits::kMaxTagValuesPerUpdate) {
    return BadNote(side, note,
                   absl::StrCat("the tag ", tag.key(), " has more than ",
                                limits::kMaxTagValuesPerUpdate, " values"));
  }
  if (tag.values_size() == 0 && tag.operation() != api::v1::TAG_OPERATION_SET) {
    return BadNote(side, note,
                   absl::StrCat("the tag ", tag.key(), " has no value"));
  }
  for (const std::string& value : tag.values()) {
    RETURN_IF_ERROR(base::CheckTagValue(tag.key(), value));
  }
  return absl::OkStatus();
}

absl::Status CheckEvent(api::v1::Side side, uint64_t note,
                        const api::v1::Event& event) {
  RETURN_IF_ERROR(base::CheckEventType(event.type()));
  if (static_cast<size_t>(event.attributes_size()) >
      limits::kMaxEventAttributes) {
    return BadNote(side, note, "an event has too many attributes");
  }
  for (const api::v1::Attribute& attribute : event.attributes()) {
    RETURN_IF_ERROR(base::CheckTagKey(attribute.key()));
    if (attribute.value().size() > limits::kMaxEventAttributeValue_bytes) {
      return BadNote(
          side, note,
          absl::StrCat("the event's attribute ", attribute.key(),
                       " is longer than ",
                       limits::kMaxEventAttributeValue_bytes, " bytes"));
    }
  }
  if (event.attachment_id() == 0) {
    if (event.attachment_bytes() != 0) {
      return BadNote(side, note, "an attachment has a size but no id");
    }
    return absl::OkStatus();
  }
  if (event.attachment_bytes() == 0 ||
      event.attachment_bytes() > limits::kMaxAttachment_bytes) {
    return BadNote(side, note,
                   absl::StrCat("an attachment has ", event.attachment_bytes(),
                                " bytes; 1 to ", limits::kMaxAttachment_bytes,
                                " are allowed"));
  }
  if (event.attachment_media_type().size() > limits::kMaxTagValue_bytes ||
      event.attachment_name().size() > limits::kMaxTagValue_bytes) {
    return BadNote(side, note, "an attachment's type or name is too long");
  }
  return absl::OkStatus();
}

absl::Status CheckAttachmentPart(api::v1::Side side, uint64_t note,
                                 const api::v1::AttachmentPart& part) {
  if (part.attachment_id() == 0) {
    return BadNote(side, note, "an attachment part has no id");
  }
  if (part.data().empty() ||
      part.data().size() > limits::kMaxAttachmentPart_bytes) {
    return BadNote(
        side, note,
        absl::StrCat("an attachment part has ", part.data().size(),
                     " bytes; 1 to ", limits::kMaxAttachmentPart_bytes,
                     " are allowed"));
  }
  if (part.offset() > limits::kMaxAttachment_bytes) {
    return BadNote(side, note, "an attachment part lies past every limit");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOpenSide(const api::v1::OpenSide& side) {
  if (side.side() != api::v1::SIDE_RESIDENT &&
      side.side() != api::v1::SIDE_CLERK) {
    return BadOpen("a side is neither resident nor clerk");
  }
  if (side.tracks_size() == 0 ||
      static_cast<size_t>(side.tracks_size()) > limits::kMaxTracksPerSide) {
    return BadOpen(absl::StrCat("a side has ", side.tracks_size(),
                                " tracks; 1 to ", limits::kMaxTracksPerSide,
                                " are allowed"));
  }
  std::set<uint32_t> ids;
  for (const api::v1::Track& track : side.tracks()) {
    RETURN_IF_ERROR(media::CheckTrack(track));
    if (track.side() != side.side()) {
      return BadOpen(absl::StrCat("track ", track.track_id(),
                                  " is declared under the other side"));
    }
    if (!ids.insert(track.track_id()).second) {
      return BadOpen(
          absl::StrCat("track ", track.track_id(), " is declared twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOpen(const api::v1::Open& open) {
  if (open.sides_size() == 0) return BadOpen("open names no side");
  std::set<api::v1::Side> sides;
  std::set<uint32_t> ids;
  for (const api::v1::OpenSide& side : open.sides()) {
    if (!sides.insert(side.side()).second) {
      return SideConflict(side.side(), "is declared twice");
    }
    RETURN_IF_ERROR(CheckOpenSide(side));
    for (const api::v1::Track& track : side.tracks()) {
      if (!ids.insert(track.track_id()).second) {
        return BadOpen(absl::StrCat("track ", track.track_id(),
                                    " is declared on both sides"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPacket(const api::v1::Track& track,
                         const api::v1::Packet& packet) {
  const auto bad_time = [&](absl::string_view message) {
    return BadTime(packet.track_id(), packet.sequence(), message);
  };
  if (packet.pts_us() < 0) return bad_time("pts is negative");
  if (packet.pts_us() > limits::kSessionMax_us) {
    return bad_time("pts is more than ten days after the session's start");
  }
  if (packet.dts_us() < -limits::kMaxReorder_us) {
    return bad_time("dts is too far before the session's start");
  }
  if (packet.pts_us() < packet.dts_us()) {
    return bad_time("pts is before dts");
  }
  if (packet.pts_us() - packet.dts_us() > limits::kMaxReorder_us) {
    return bad_time("pts is further after dts than reordering explains");
  }
  if (packet.duration_us() > static_cast<uint64_t>(limits::kSessionMax_us)) {
    return bad_time("duration is over the limit");
  }
  if (packet.payload().empty() ||
      packet.payload().size() > limits::kMaxPacket_bytes) {
    return BadPacket(
        packet.track_id(), packet.sequence(),
        absl::StrCat("payload has ", packet.payload().size(), " bytes; 1 to ",
                     limits::kMaxPacket_bytes, " are allowed"));
  }
  api::v1::ErrorDetail detail;
  detail.set_track_id(packet.track_id());
  detail.set_sequence(packet.sequence());
  return base::WithDetail(media::CheckPayload(track, packet.payload()), detail);
}

absl::Status CheckNote(api::v1::Side side, const api::v1::Note& note) {
  api::v1::ErrorDetail detail;
  detail.set_side(side);
  detail.set_sequence(note.note_sequence());
  if (note.at_us() < 0 || note.at_us() > limits::kSessionMax_us) {
    return BadNote(side, note.note_sequence(),
                   "its time is before the session's start or more than ten "
                   "days after it");
  }
  switch (note.kind_case()) {
    case api::v1::Note::kTag:
      return base::WithDetail(CheckTag(side, note.note_sequence(), note.tag()),
                              detail);
    case api::v1::Note::kEvent:
      return base::WithDetail(
          CheckEvent(side, note.note_sequence(), note.event()), detail);
    case api::v1::Note::kAttachmentPart:
      return CheckAttachmentPart(side, note.note_sequence(),
                                 note.attachment_part());
    case api::v1::Note::kClockAnchor:
      if (note.clock_anchor().source().size() > limits::kMaxTagKey_bytes) {
        return BadNote(side, note.note_sequence(),
                       "a clock anchor's source is too long");
      }
      return absl::OkStatus();
    case api::v1::Note::kSourceDigest:
      if (note.source_digest().signature().size() > 64 ||
          note.source_digest().key_id().size() > 8) {
        return BadNote(side, note.note_sequence(),
                       "a source digest's signature has 64 bytes, its key's "
                       "id 8");
      }
      return absl::OkStatus();
    case api::v1::Note::KIND_NOT_SET:
      break;
  }
  return BadNote(side, note.note_sequence(),
                 "it holds nothing that this version knows");
}

bool SameTrack(const api::v1::Track& a, const api::v1::Track& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

}  // namespace diptych::ingest
