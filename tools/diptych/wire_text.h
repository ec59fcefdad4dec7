#ifndef TOOLS_DIPTYCH_WIRE_TEXT_H_
#define TOOLS_DIPTYCH_WIRE_TEXT_H_

#include <string>

#include <google/protobuf/repeated_ptr_field.h>
#include <google/protobuf/timestamp.pb.h>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/output.h"

namespace diptych::cli {

// The wire's words as the command line writes them: lower case, stable.

absl::string_view SideWord(api::v1::Side side);
absl::string_view SourceWord(api::v1::Source source);
absl::string_view CodecWord(api::v1::Codec codec);
absl::string_view StateWord(api::v1::SessionState state);
absl::string_view TroubleWord(api::v1::SideTrouble::Trouble trouble);
absl::string_view ClockReasonWord(api::v1::ClockChange::Reason reason);

absl::Time ToTime(const google::protobuf::Timestamp& timestamp);

// {"item": ["0417", "0420"], …}.
Json TagsJson(const google::protobuf::RepeatedPtrField<api::v1::Tag>& tags);

// "item=0417,0420 clerk=C0231"; for people.
std::string TagsText(
    const google::protobuf::RepeatedPtrField<api::v1::Tag>& tags);

// session, start, end, duration_s, state, tags, bytes, segments, sides.
Json SessionJson(const api::v1::Session& session);

// "video h264 1280x720", "audio opus 48000 Hz 2 ch"; for people.
std::string TrackText(const api::v1::Track& track);
Json TrackJson(const api::v1::Track& track);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_WIRE_TEXT_H_
