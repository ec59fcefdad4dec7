#include "tools/diptych/query_command.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/catalog.pb.h"
#include "tools/diptych/audit_client.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"
#include "tools/diptych/wire_text.h"

namespace diptych::cli {
namespace {

// Narrower terminals do without some columns, so that tags keep some room.
constexpr size_t kWideTable = 110;

std::string ShortTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string ShortDuration(int64_t duration_us) {
  const std::string text = FormatOffset(duration_us);
  return text.substr(0, text.find('.'));
}

// The first ranges, and how many others there are.
std::string MatchedText(const api::v1::Session& session) {
  constexpr int kShown = 2;
  std::vector<std::string> ranges;
  for (const auto& range : session.matched()) {
    if (static_cast<int>(ranges.size()) == kShown) {
      return absl::StrCat(absl::StrJoin(ranges, " "), " +",
                          session.matched_size() - kShown);
    }
    ranges.push_back(absl::StrCat(ShortDuration(range.start_us()), "-",
                                  ShortDuration(range.end_us())));
  }
  return absl::StrJoin(ranges, " ");
}

// What both kinds of rows have in common: how to ask for a page of them, and
// how to write them.
class SessionRows {
 public:
  explicit SessionRows(bool wide)
      : wide_(wide),
        table_(wide ? std::vector<std::string>{"SESSION", "START", "DURATION",
                                               "STATE", "SIZE", "MATCHED",
                                               "TAGS"}
                    : std::vector<std::string>{"SESSION", "START", "DURATION",
                                               "TAGS"}) {}

  static constexpr const char* kCounted = "sessions";
  static constexpr const char* kOne = "session";

  auto Ask(AuditClient& client, const api::v1::ListSessionsRequest& request) {
    return client.ListSessions(request);
  }

  uint64_t Take(const api::v1::ListSessionsResponse& response, Output* output) {
    for (const api::v1::Session& session : response.sessions()) {
      Json json = SessionJson(session);
      Json matched = Json::array();
      for (const auto& range : session.matched()) {
        matched.push_back({{"start_s", Seconds(range.start_us())},
                           {"end_s", Seconds(range.end_us())}});
      }
      json["matched"] = std::move(matched);
      output->Line("session", json);
      std::vector<std::string> row = {session.session_id(),
                                      ShortTime(ToTime(session.start_time())),
                                      ShortDuration(session.duration_us())};
      if (wide_) {
        row.emplace_back(StateWord(session.state()));
        row.push_back(FormatBytes(session.payload_bytes()));
        row.push_back(MatchedText(session));
      }
      row.push_back(TagsText(session.tags()));
      if (!output->json()) table_.AddRow(std::move(row));
    }
    return static_cast<uint64_t>(response.sessions_size());
  }

  using Request = api::v1::ListSessionsRequest;
  const Table& table() const { return table_; }

 private:
  const bool wide_;
  Table table_;
};

class SegmentRows {
 public:
  explicit SegmentRows(bool wide)
      : wide_(wide),
        table_(wide ? std::vector<std::string>{"SESSION", "SEGMENT", "FROM",
                                               "DURATION", "NO KEY FRAME",
                                               "TAGS"}
                    : std::vector<std::string>{"SESSION", "SEGMENT", "FROM",
                                               "DURATION", "TAGS"}) {}

  static constexpr const char* kCounted = "segments";
  static constexpr const char* kOne = "segment";

  auto Ask(AuditClient& client, const api::v1::ListSegmentsRequest& request) {
    return client.ListSegments(request);
  }

  uint64_t Take(const api::v1::ListSegmentsResponse& response, Output* output) {
    for (const api::v1::Segment& segment : response.segments()) {
      const int64_t duration_us = segment.end_us() - segment.start_us();
      const absl::Time start = ToTime(segment.start_time());
      const auto& keyless = segment.tracks_without_key_frame();
      Json without = Json::array();
      for (const uint32_t track : keyless) without.push_back(track);
      Json key_frames = Json::array();
      for (const auto& hint : segment.key_frames()) {
        key_frames.push_back(
            {{"track", hint.track_id()}, {"at_s", Seconds(hint.at_us())}});
      }
      output->Line("segment",
                   {{"session", segment.session_id()},
                    {"segment", segment.segment()},
                    {"start", FormatUtc(start)},
                    {"end", FormatUtc(start + absl::Microseconds(duration_us))},
                    {"from_s", Seconds(segment.start_us())},
                    {"to_s", Seconds(segment.end_us())},
                    {"duration_s", Seconds(duration_us)},
                    {"tags", TagsJson(segment.tags())},
                    {"bytes", segment.payload_bytes()},
                    {"tracks_without_key_frame", std::move(without)},
                    {"span", segment.span()},
                    {"chunks", segment.chunks()},
                    {"play_from_s", Seconds(segment.play_from_us())},
                    {"key_frames", std::move(key_frames)}});
      if (output->json()) continue;
      std::vector<std::string> row = {
          segment.session_id(), absl::StrCat(segment.segment()),
          FormatOffset(segment.start_us()), ShortDuration(duration_us)};
      if (wide_) {
        row.push_back(
            keyless.empty()
                ? ""
                : absl::StrCat("track ", absl::StrJoin(keyless, ",")));
      }
      row.push_back(TagsText(segment.tags()));
      table_.AddRow(std::move(row));
    }
    return static_cast<uint64_t>(response.segments_size());
  }

  using Request = api::v1::ListSegmentsRequest;
  const Table& table() const { return table_; }

 private:
  const bool wide_;
  Table table_;
};

template <typename Rows>
absl::StatusOr<ExitCode> ListAll(const CommandContext& context,
                                 const QueryOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AuditClient> client,
                   AuditClient::Open(context));
  Output& output = *context.output;
  Rows rows(output.width() == 0 || output.width() >= kWideTable);
  typename Rows::Request request;
  request.set_filter(options.filter);
  request.set_oldest_first(options.oldest_first);
  request.set_page_token(options.page);
  uint64_t found = 0;
  bool complete = true;
  std::string reason;
  do {
    request.set_page_size(static_cast<uint32_t>(
        std::min<uint64_t>(limits::kMaxPageSize, options.limit - found)));
    ASSIGN_OR_RETURN(const auto response, rows.Ask(*client, request));
    const uint64_t taken = rows.Take(response, &output);
    found += taken;
    if (!response.complete()) {
      complete = false;
      reason = response.incomplete_reason();
    }
    request.set_page_token(response.next_page_token());
    // An empty page with a token would never end.
    if (taken == 0) break;
  } while (!request.page_token().empty() && found < options.limit);

  if (!rows.table().empty()) {
    for (const std::string& line : rows.table().Render(output.width())) {
      output.Text(line);
    }
  }
  if (!complete) {
    output.Warning(absl::StrCat("the answer may be incomplete: ", reason));
  }
  std::string text = Counted(found, Rows::kOne);
  if (!request.page_token().empty()) {
    absl::StrAppend(&text, " and more: go on with --page ",
                    request.page_token());
  }
  output.Summary({{Rows::kCounted, found},
                  {"next_page", request.page_token()},
                  {"complete", complete}},
                 text);
  return complete ? ExitCode::kDone : ExitCode::kIncomplete;
}

}  // namespace

absl::StatusOr<ExitCode> RunQuery(const CommandContext& context,
                                  const QueryOptions& options) {
  return options.segments ? ListAll<SegmentRows>(context, options)
                          : ListAll<SessionRows>(context, options);
}

}  // namespace diptych::cli
