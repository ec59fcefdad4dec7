#include "tools/diptych/show_command.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "tools/diptych/audit_client.h"
#include "tools/diptych/clock_quality.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"
#include "tools/diptych/wire_text.h"

namespace diptych::cli {
namespace {

constexpr char kNoRetention[] = "no rule set";

double Milliseconds(int64_t duration_us) {
  return static_cast<double>(duration_us) / 1000;
}

// One after the other, each under its heading.
class SessionReport {
 public:
  SessionReport(const api::v1::GetSessionResponse& response, Output* output)
      : response_(response), output_(*output) {}

  void Write() {
    WriteHead();
    WriteStates();
    WriteTags();
    WriteSpans();
    WriteSides();
    WriteGaps();
    WriteClocks();
    WriteClockChanges();
    WriteEvents();
  }

 private:
  // The table's lines, or one saying that there is none, under a heading.
  void Section(const std::string& heading, const Table& table,
               const std::string& if_empty) {
    if (output_.json()) return;
    output_.Text("");
    output_.Text(heading);
    if (table.empty()) output_.Text(absl::StrCat("  ", if_empty));
    if (table.empty()) return;
    const size_t width = output_.width();
    for (const std::string& line : table.Render(width > 2 ? width - 2 : 0)) {
      output_.Text(absl::StrCat("  ", line));
    }
  }

  void WriteHead() {
    const api::v1::Session& session = response_.session();
    Json json = SessionJson(session);
    json["retention"] = kNoRetention;
    output_.Line("session", json);
    output_.Text(absl::StrCat("session    ", session.session_id()));
    output_.Text(absl::StrCat("state      ", StateWord(session.state())));
    output_.Text(
        absl::StrCat("start      ", FormatUtc(ToTime(session.start_time()))));
    output_.Text(
        absl::StrCat("end        ", FormatUtc(ToTime(session.end_time()))));
    output_.Text(
        absl::StrCat("duration   ", FormatOffset(session.duration_us())));
    output_.Text(absl::StrCat("size       ",
                              FormatBytes(session.payload_bytes()), " in ",
                              session.segments(), " segments"));
    output_.Text(absl::StrCat("retention  ", kNoRetention));
  }

  void WriteStates() {
    Table table({"AT", "TIME", "STATE", "WHY"});
    for (const api::v1::StateChange& change : response_.state_changes()) {
      Json troubles = Json::array();
      std::vector<std::string> why;
      for (const api::v1::SideTrouble& trouble : change.troubles()) {
        troubles.push_back(
            {{"side", std::string(SideWord(trouble.side()))},
             {"trouble", std::string(TroubleWord(trouble.trouble()))},
             {"since_s", Seconds(trouble.since_us())}});
        why.push_back(absl::StrCat(SideWord(trouble.side()), " ",
                                   TroubleWord(trouble.trouble()), " since ",
                                   FormatOffset(trouble.since_us())));
      }
      const std::string state(StateWord(change.state()));
      const std::string time = FormatUtc(ToTime(change.time()));
      output_.Line("state", {{"state", state},
                             {"at_s", Seconds(change.at_us())},
                             {"time", time},
                             {"troubles", std::move(troubles)}});
      table.AddRow({FormatOffset(change.at_us()), time, state,
                    absl::StrJoin(why, ", ")});
    }
    Section("States", table, "none but opened and closed");
  }

  void WriteTags() {
    Table table({"KEY", "FROM", "TO", "VALUE"});
    for (const api::v1::TimedTag& tag : response_.timed_tags()) {
      Json json = {{"key", tag.key()},
                   {"value", tag.value()},
                   {"whole_session", tag.whole_session()}};
      std::string from = "whole session";
      std::string to;
      if (!tag.whole_session()) {
        json["from_s"] = Seconds(tag.from_us());
        json["to_s"] = tag.to_us() == 0 ? Json() : Json(Seconds(tag.to_us()));
        from = FormatOffset(tag.from_us());
        to = tag.to_us() == 0 ? "end" : FormatOffset(tag.to_us());
      }
      output_.Line("tag", json);
      table.AddRow({tag.key(), from, to, tag.value()});
    }
    Section("Tags", table, "none");
  }

  void WriteSpans() {
    Table table({"SPAN", "FROM", "TRACK", "WHAT"});
    for (const api::v1::Span& span : response_.spans()) {
      Json tracks = Json::array();
      for (const api::v1::Track& track : span.tracks()) {
        tracks.push_back(TrackJson(track));
        table.AddRow({absl::StrCat(span.span()), FormatOffset(span.start_us()),
                      absl::StrCat(track.track_id()), TrackText(track)});
      }
      output_.Line("span", {{"span", span.span()},
                            {"from_s", Seconds(span.start_us())},
                            {"tracks", std::move(tracks)}});
    }
    Section("Spans and tracks", table, "none");
  }

  void WriteSides() {
    Table table({"SIDE", "FROM", "TO", "PACKETS", "SIZE"});
    for (const api::v1::SideTotals& side : response_.sides()) {
      output_.Line("side", {{"side", std::string(SideWord(side.side()))},
                            {"from_s", Seconds(side.start_us())},
                            {"to_s", Seconds(side.end_us())},
                            {"packets", side.packets()},
                            {"bytes", side.payload_bytes()},
                            {"final_sequence", side.final_sequence()}});
      table.AddRow({std::string(SideWord(side.side())),
                    FormatOffset(side.start_us()), FormatOffset(side.end_us()),
                    absl::StrCat(side.packets()),
                    FormatBytes(side.payload_bytes())});
    }
    Section("Sides", table, "no packet of either side");
  }

  void WriteGaps() {
    Table table({"SIDE", "TRACK", "FROM", "TO", "SECONDS"});
    for (const api::v1::Gap& gap : response_.gaps()) {
      const double seconds = Seconds(gap.end_us() - gap.start_us());
      Json json = {{"side", std::string(SideWord(gap.side()))},
                   {"from_s", Seconds(gap.start_us())},
                   {"to_s", Seconds(gap.end_us())},
                   {"duration_s", seconds}};
      if (gap.track_id() != 0) json["track"] = gap.track_id();
      output_.Line("gap", json);
      table.AddRow({std::string(SideWord(gap.side())),
                    gap.track_id() == 0 ? "all" : absl::StrCat(gap.track_id()),
                    FormatOffset(gap.start_us()), FormatOffset(gap.end_us()),
                    absl::StrFormat("%.3f", seconds)});
    }
    Section("Gaps", table, "none");
  }

  void WriteClocks() {
    Table table(
        {"TRACK", "ANCHORS", "OFFSET ms", "UNCERTAIN ms", "DRIFT ppm", "FROM"});
    for (const ClockQuality& clock :
         MeasureClocks(response_.clock_anchors(),
                       ToTime(response_.session().start_time()))) {
      output_.Line(
          "clock",
          {{"track", clock.track_id},
           {"anchors", clock.anchors},
           {"sources", clock.sources},
           {"min_offset_s", Seconds(clock.min_offset_us)},
           {"max_offset_s", Seconds(clock.max_offset_us)},
           {"max_uncertainty_s",
            static_cast<double>(clock.max_uncertainty_us) / 1e6},
           {"drift_ppm",
            clock.drift_ppm.has_value() ? Json(*clock.drift_ppm) : Json()}});
      table.AddRow(
          {absl::StrCat(clock.track_id), absl::StrCat(clock.anchors),
           absl::StrFormat("%+.1f to %+.1f", Milliseconds(clock.min_offset_us),
                           Milliseconds(clock.max_offset_us)),
           absl::StrFormat(
               "%.1f", static_cast<double>(clock.max_uncertainty_us) / 1000),
           clock.drift_ppm.has_value()
               ? absl::StrFormat("%+.1f", *clock.drift_ppm)
               : "too short",
           absl::StrJoin(clock.sources, ",")});
    }
    Section("Clock quality", table,
            "no anchors: times are as the gateway gave them");
  }

  void WriteClockChanges() {
    Table table({"AT", "TRACK", "WHAT", "OFFSET ms", "RATE ppm", "LEFT ms"});
    for (const api::v1::ClockChange& change : response_.clock_changes()) {
      const std::string what(ClockReasonWord(change.reason()));
      const double rate_ppm = static_cast<double>(change.rate_ppb()) / 1000;
      output_.Line("clock_change",
                   {{"side", std::string(SideWord(change.side()))},
                    {"track", change.track_id()},
                    {"reason", what},
                    {"at_s", Seconds(change.at_us())},
                    {"raw_from_s", Seconds(change.raw_from_us())},
                    {"offset_s", Seconds(change.offset_us())},
                    {"rate_ppm", rate_ppm},
                    {"residual_s", Seconds(change.residual_us())}});
      table.AddRow(
          {FormatOffset(change.at_us()), absl::StrCat(change.track_id()), what,
           absl::StrFormat("%+.1f", Milliseconds(change.offset_us())),
           absl::StrFormat("%+.1f", rate_ppm),
           absl::StrFormat("%+.1f", Milliseconds(change.residual_us()))});
    }
    Section("Clock changes", table, "none: session time is media time");
  }

  void WriteEvents() {
    Table table({"AT", "SIDE", "EVENT", "DETAILS"});
    for (const api::v1::SessionEvent& at : response_.events()) {
      const api::v1::Event& event = at.event();
      Json json = {{"at_s", Seconds(at.at_us())},
                   {"side", at.side() == api::v1::SIDE_UNSPECIFIED
                                ? Json()
                                : Json(std::string(SideWord(at.side())))},
                   {"type", event.type()}};
      Json attributes = Json::object();
      std::vector<std::string> details;
      for (const api::v1::Attribute& attribute : event.attributes()) {
        attributes[attribute.key()] = attribute.value();
        details.push_back(
            absl::StrCat(attribute.key(), "=", attribute.value()));
      }
      json["attributes"] = std::move(attributes);
      if (event.attachment_id() != 0) {
        json["attachment"] = {{"attachment", event.attachment_id()},
                              {"bytes", event.attachment_bytes()},
                              {"media_type", event.attachment_media_type()},
                              {"name", event.attachment_name()}};
        details.push_back(absl::StrCat(
            "attachment ", event.attachment_id(), ": ", event.attachment_name(),
            " (", event.attachment_media_type(), ", ",
            FormatBytes(event.attachment_bytes()), ")"));
      }
      output_.Line("event", json);
      table.AddRow({FormatOffset(at.at_us()),
                    at.side() == api::v1::SIDE_UNSPECIFIED
                        ? "both"
                        : std::string(SideWord(at.side())),
                    event.type(), absl::StrJoin(details, " ")});
    }
    Section("Events", table, "none");
  }

  const api::v1::GetSessionResponse& response_;
  Output& output_;
};

}  // namespace

absl::StatusOr<ExitCode> RunShow(const CommandContext& context,
                                 const ShowOptions& options) {
  const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(options.session);
  if (!id.ok()) {
    return absl::InvalidArgumentError(
        "SESSION must be a UUID, as push and query print it");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<AuditClient> client,
                   AuditClient::Open(context));
  api::v1::GetSessionRequest request;
  request.set_session_id(id->ToString());
  ASSIGN_OR_RETURN(const api::v1::GetSessionResponse response,
                   client->GetSession(request));
  SessionReport(response, context.output).Write();
  if (!response.complete()) {
    context.output->Warning(absl::StrCat("the answer may be incomplete: ",
                                         response.incomplete_reason()));
  }
  context.output->Summary(
      {{"session", id->ToString()}, {"complete", response.complete()}}, "");
  return response.complete() ? ExitCode::kDone : ExitCode::kIncomplete;
}

}  // namespace diptych::cli
