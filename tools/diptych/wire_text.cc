#include "tools/diptych/wire_text.h"

#include <string>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>
#include <google/protobuf/timestamp.pb.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/output.h"

namespace diptych::cli {

absl::string_view SideWord(api::v1::Side side) {
  switch (side) {
    case api::v1::SIDE_RESIDENT:
      return "resident";
    case api::v1::SIDE_CLERK:
      return "clerk";
    default:
      return "unknown";
  }
}

absl::string_view SourceWord(api::v1::Source source) {
  switch (source) {
    case api::v1::SOURCE_CAMERA:
      return "camera";
    case api::v1::SOURCE_MICROPHONE:
      return "microphone";
    case api::v1::SOURCE_SCREEN:
      return "screen";
    case api::v1::SOURCE_DOCUMENT_CAMERA:
      return "document_camera";
    default:
      return "unknown";
  }
}

absl::string_view CodecWord(api::v1::Codec codec) {
  switch (codec) {
    case api::v1::CODEC_H264:
      return "h264";
    case api::v1::CODEC_H265:
      return "h265";
    case api::v1::CODEC_VP8:
      return "vp8";
    case api::v1::CODEC_VP9:
      return "vp9";
    case api::v1::CODEC_AV1:
      return "av1";
    case api::v1::CODEC_OPUS:
      return "opus";
    case api::v1::CODEC_AAC:
      return "aac";
    case api::v1::CODEC_G711_ALAW:
      return "g711_alaw";
    case api::v1::CODEC_G711_ULAW:
      return "g711_ulaw";
    default:
      return "unknown";
  }
}

absl::string_view StateWord(api::v1::SessionState state) {
  switch (state) {
    case api::v1::SESSION_STATE_OPEN:
      return "open";
    case api::v1::SESSION_STATE_CLOSED:
      return "closed";
    case api::v1::SESSION_STATE_ABANDONED:
      return "abandoned";
    case api::v1::SESSION_STATE_DEGRADED:
      return "degraded";
    case api::v1::SESSION_STATE_RECOVERED:
      return "recovered";
    default:
      return "unknown";
  }
}

absl::string_view TroubleWord(api::v1::SideTrouble::Trouble trouble) {
  switch (trouble) {
    case api::v1::SideTrouble::TROUBLE_MISSING:
      return "missing";
    case api::v1::SideTrouble::TROUBLE_STALLED:
      return "stalled";
    default:
      return "unknown";
  }
}

absl::string_view ClockReasonWord(api::v1::ClockChange::Reason reason) {
  switch (reason) {
    case api::v1::ClockChange::REASON_PLACED:
      return "placed";
    case api::v1::ClockChange::REASON_DRIFT:
      return "drift";
    case api::v1::ClockChange::REASON_JUMP:
      return "jump";
    default:
      return "unknown";
  }
}

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) +
         absl::Nanoseconds(timestamp.nanos());
}

Json TagsJson(const google::protobuf::RepeatedPtrField<api::v1::Tag>& tags) {
  Json json = Json::object();
  for (const api::v1::Tag& tag : tags) {
    Json values = Json::array();
    for (const std::string& value : tag.values()) values.push_back(value);
    json[tag.key()] = std::move(values);
  }
  return json;
}

std::string TagsText(
    const google::protobuf::RepeatedPtrField<api::v1::Tag>& tags) {
  std::vector<std::string> parts;
  for (const api::v1::Tag& tag : tags) {
    parts.push_back(
        absl::StrCat(tag.key(), "=", absl::StrJoin(tag.values(), ",")));
  }
  return absl::StrJoin(parts, " ");
}

Json SessionJson(const api::v1::Session& session) {
  Json sides = Json::array();
  for (const int side : session.sides()) {
    sides.push_back(std::string(SideWord(static_cast<api::v1::Side>(side))));
  }
  return {{"session", session.session_id()},
          {"start", FormatUtc(ToTime(session.start_time()))},
          {"end", FormatUtc(ToTime(session.end_time()))},
          {"duration_s", Seconds(session.duration_us())},
          {"state", std::string(StateWord(session.state()))},
          {"tags", TagsJson(session.tags())},
          {"bytes", session.payload_bytes()},
          {"segments", session.segments()},
          {"sides", std::move(sides)}};
}

std::string TrackText(const api::v1::Track& track) {
  std::string text =
      absl::StrCat(SideWord(track.side()), " ", SourceWord(track.source()), " ",
                   CodecWord(track.codec()));
  if (track.width() > 0) {
    absl::StrAppend(&text, " ", track.width(), "x", track.height());
  }
  if (track.sample_rate_hz() > 0) {
    absl::StrAppend(&text, " ", track.sample_rate_hz(), " Hz, ",
                    track.channels(), " ch");
  }
  if (!track.language().empty()) absl::StrAppend(&text, ", ", track.language());
  return text;
}

Json TrackJson(const api::v1::Track& track) {
  Json json = {{"track", track.track_id()},
               {"side", std::string(SideWord(track.side()))},
               {"source", std::string(SourceWord(track.source()))},
               {"codec", std::string(CodecWord(track.codec()))}};
  if (track.width() > 0) {
    json["width"] = track.width();
    json["height"] = track.height();
  }
  if (track.sample_rate_hz() > 0) {
    json["sample_rate_hz"] = track.sample_rate_hz();
    json["channels"] = track.channels();
  }
  if (!track.language().empty()) json["language"] = track.language();
  return json;
}

}  // namespace diptych::cli
