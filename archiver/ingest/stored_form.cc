#include "archiver/ingest/stored_form.h"

#include <google/protobuf/util/time_util.h>

#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

using google::protobuf::util::TimeUtil;

stored::v1::Side ToStored(api::v1::Side side) {
  switch (side) {
    case api::v1::SIDE_RESIDENT:
      return stored::v1::SIDE_RESIDENT;
    case api::v1::SIDE_CLERK:
      return stored::v1::SIDE_CLERK;
    default:
      return stored::v1::SIDE_UNSPECIFIED;
  }
}

api::v1::Side ToWire(stored::v1::Side side) {
  switch (side) {
    case stored::v1::SIDE_RESIDENT:
      return api::v1::SIDE_RESIDENT;
    case stored::v1::SIDE_CLERK:
      return api::v1::SIDE_CLERK;
    default:
      return api::v1::SIDE_UNSPECIFIED;
  }
}

stored::v1::Track ToStored(const api::v1::Track& track) {
  stored::v1::Track stored;
  stored.set_track_id(track.track_id());
  stored.set_side(ToStored(track.side()));
  stored.set_source(track.source());
  stored.set_codec(track.codec());
  stored.set_codec_config(track.codec_config());
  stored.set_width(track.width());
  stored.set_height(track.height());
  stored.set_sample_rate_hz(track.sample_rate_hz());
  stored.set_channels(track.channels());
  stored.set_language(track.language());
  stored.set_parameters_in_band(track.parameters_in_band());
  return stored;
}

stored::v1::Note ToStored(const api::v1::Note& note) {
  stored::v1::Note stored;
  stored.set_note(note.note_sequence());
  stored.set_at_us(note.at_us());
  switch (note.kind_case()) {
    case api::v1::Note::kTag: {
      stored::v1::TagUpdate* tag = stored.mutable_tag();
      tag->set_key(note.tag().key());
      *tag->mutable_values() = note.tag().values();
      tag->set_operation(note.tag().operation());
      break;
    }
    case api::v1::Note::kEvent: {
      const api::v1::Event& from = note.event();
      stored::v1::Event* event = stored.mutable_event();
      event->set_type(from.type());
      for (const api::v1::Attribute& attribute : from.attributes()) {
        stored::v1::Attribute* to = event->add_attributes();
        to->set_key(attribute.key());
        to->set_value(attribute.value());
      }
      event->set_attachment_id(from.attachment_id());
      event->set_attachment_bytes(from.attachment_bytes());
      event->set_attachment_media_type(from.attachment_media_type());
      event->set_attachment_name(from.attachment_name());
      break;
    }
    case api::v1::Note::kClockAnchor: {
      const api::v1::ClockAnchor& from = note.clock_anchor();
      stored::v1::ClockAnchor* anchor = stored.mutable_clock_anchor();
      anchor->set_track_id(from.track_id());
      anchor->set_media_us(from.media_us());
      anchor->set_wall_time_us(
          TimeUtil::TimestampToMicroseconds(from.wall_time()));
      anchor->set_source(from.source());
      anchor->set_uncertainty_us(from.uncertainty_us());
      break;
    }
    case api::v1::Note::kAttachmentPart:
    case api::v1::Note::kSourceDigest:
    case api::v1::Note::KIND_NOT_SET:
      break;
  }
  return stored;
}

}  // namespace diptych::ingest
