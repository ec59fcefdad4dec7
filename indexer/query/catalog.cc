#include "indexer/query/catalog.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "indexer/builder/log_follower.h"
#include "indexer/query/api_rows.h"
#include "indexer/query/doc_iterator.h"
#include "indexer/query/filter.h"
#include "indexer/query/match_walker.h"
#include "indexer/query/page_token.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/session_tags.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

size_t PageSize(uint32_t asked) {
  if (asked == 0) return limits::kDefaultPageSize;
  return std::min(asked, limits::kMaxPageSize);
}

absl::Status FieldError(absl::StatusCode code, absl::string_view reason,
                        absl::string_view field, absl::string_view message) {
  api::v1::ErrorDetail detail;
  detail.set_reason(std::string(reason));
  detail.set_field(std::string(field));
  return base::MakeError(code, message, detail);
}

// What keeps the index from having seen all, apart from being behind.
std::string WhatIsLost(const stored::v1::IndexState& state) {
  if (state.damage_count() > 0) {
    return absl::StrCat("the log is damaged in ", state.damage_count(),
                        " places: run `diptych check`");
  }
  if (state.unopened_records() > 0) {
    return absl::StrCat(state.unopened_records(),
                        " records could not be opened with the index's key");
  }
  if (state.unreadable_headers() > 0) {
    return absl::StrCat(state.unreadable_headers(),
                        " records of the log are not understood");
  }
  if (state.refused_tag_notes() > 0) {
    return absl::StrCat(state.refused_tag_notes(),
                        " tag updates broke a limit and are not indexed");
  }
  return "";
}

std::string WhatSessionLost(const stored::v1::SessionRow& row) {
  if (row.opening_lost()) {
    return "the record that opened the session is lost; its start is a guess";
  }
  if (row.unopened_records() > 0) {
    return absl::StrCat(row.unopened_records(),
                        " records of the session could not be opened");
  }
  if (row.refused_tag_notes() > 0) {
    return absl::StrCat(row.refused_tag_notes(),
                        " tag updates broke a limit and are not indexed");
  }
  return "";
}

// A run's segments in the order of answers.
absl::StatusOr<std::vector<stored::v1::SegmentRow>> SegmentsOf(
    const IndexView& view, const base::Uuid& session,
    const stored::v1::RunRow& run, bool newest_first) {
  std::vector<stored::v1::SegmentRow> segments;
  for (const auto& range : run.segments()) {
    ASSIGN_OR_RETURN(auto rows,
                     view.Segments(session, range.first(), range.last()));
    std::move(rows.begin(), rows.end(), std::back_inserter(segments));
  }
  std::sort(segments.begin(), segments.end(),
            [&](const auto& a, const auto& b) {
              return newest_first ? IsEarlier(b, a) : IsEarlier(a, b);
            });
  return segments;
}

template <typename Response>
void SetCompleteness(bool complete, const std::string& reason,
                     Response* response) {
  response->set_complete(complete);
  response->set_incomplete_reason(reason);
}

}  // namespace

absl::StatusOr<log::Position> Catalog::RecordAccess(
    stored::v1::AccessRecord record, const Caller& caller) {
  record.set_principal(caller.principal);
  record.set_time_us(absl::ToUnixMicros(options_.clock->Now()));
  return options_.access->Record(record);
}

absl::StatusOr<Catalog::Sight> Catalog::Look(log::Position position) {
  const log::Position target =
      std::max(position, options_.follower->status().durable_end);
  // What lies before a durable record is durable too, and the writer has only
  // just answered: no need to wait until it tells the follower itself.
  options_.follower->SetDurableEnd(position);
  const bool reached =
      options_.follower->WaitUntil(target, limits::kQueryFreshnessWait);
  const LogFollower::Status status = options_.follower->status();
  Sight sight;
  sight.consumed = status.consumed;
  sight.view = std::make_unique<IndexView>(options_.store, options_.keys);
  ASSIGN_OR_RETURN(const stored::v1::IndexState state, sight.view->State());
  if (!reached && !status.error.ok()) {
    sight.incomplete_reason =
        "the index can't go on at the moment; see the daemon's log";
  } else if (!reached) {
    sight.incomplete_reason =
        absl::StrCat("the index is ",
                     target - std::min<log::Position>(target, status.consumed),
                     " bytes behind the log");
  } else if (!status.writer_reachable) {
    sight.incomplete_reason =
        "the archive's writer can't be asked how far the log goes";
  } else {
    sight.incomplete_reason = WhatIsLost(state);
  }
  sight.complete = sight.incomplete_reason.empty();
  return sight;
}

template <typename Request>
absl::StatusOr<Catalog::Page> Catalog::OpenPage(absl::string_view method,
                                                const Request& request,
                                                const Caller& caller) {
  Page page;
  ASSIGN_OR_RETURN(page.filter, ParseFilter(request.filter()));
  page.order =
      request.oldest_first() ? Order::kOldestFirst : Order::kNewestFirst;
  page.size = PageSize(request.page_size());
  page.context =
      PageContext(method, page.order, caller.principal, request.filter());
  page.continued = !request.page_token().empty();
  if (page.continued) {
    ASSIGN_OR_RETURN(page.end, OpenPageEnd(*options_.keys, page.context,
                                           request.page_token()));
  }
  stored::v1::AccessRecord record;
  record.set_action(absl::StrCat("Catalog.", method));
  record.set_filter(request.filter());
  ASSIGN_OR_RETURN(const log::Position recorded,
                   RecordAccess(std::move(record), caller));
  ASSIGN_OR_RETURN(page.sight,
                   Look(std::max(recorded, page.end.before_position)));
  if (!page.continued) {
    // The whole answer, over all its pages, is of this moment.
    ASSIGN_OR_RETURN(const auto state, page.sight.view->State());
    page.end.before_position = state.position();
  }
  MatchWalker::Options options;
  options.order = page.order;
  options.before_position = page.end.before_position;
  options.cancelled = caller.cancelled;
  ASSIGN_OR_RETURN(page.walker,
                   MatchWalker::Create(page.sight.view.get(), *page.filter,
                                       std::move(options)));
  return page;
}

absl::StatusOr<api::v1::ListSessionsResponse> Catalog::ListSessions(
    const api::v1::ListSessionsRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(Page page, OpenPage("ListSessions", request, caller));
  if (page.continued) page.walker->SkipSession(page.end.last);
  api::v1::ListSessionsResponse response;
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<DocId> doc, page.walker->Next());
    if (!doc.has_value()) break;
    // One more than the page: there is another.
    if (static_cast<size_t>(response.sessions_size()) == page.size) {
      response.set_next_page_token(
          SealPageEnd(*options_.keys, page.context, page.end));
      break;
    }
    ASSIGN_OR_RETURN(const stored::v1::SessionRow* const row,
                     page.walker->Row(doc->session()));
    *response.add_sessions() = ToApiSession(*row);
    page.end.last = *doc;
    page.walker->SkipSession(*doc);
  }
  SetCompleteness(page.sight.complete, page.sight.incomplete_reason, &response);
  return response;
}

absl::StatusOr<api::v1::ListSegmentsResponse> Catalog::ListSegments(
    const api::v1::ListSegmentsRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(Page page, OpenPage("ListSegments", request, caller));
  const bool newest_first = page.order == Order::kNewestFirst;
  const PageEnd start = page.end;
  // Runs may have been cut anew since the last page; segments never are.
  std::optional<stored::v1::SegmentRow> ended_with;
  if (page.continued) {
    page.walker->GoToSession(start.last);
    ASSIGN_OR_RETURN(const auto rows,
                     page.sight.view->Segments(start.last.session(),
                                               start.segment, start.segment));
    if (!rows.empty()) ended_with = rows.front();
  }
  api::v1::ListSegmentsResponse response;
  std::vector<TagSpan> tags;
  std::optional<DocId> tagged;
  while (response.next_page_token().empty()) {
    ASSIGN_OR_RETURN(const std::optional<DocId> doc, page.walker->Next());
    if (!doc.has_value()) break;
    ASSIGN_OR_RETURN(const stored::v1::SessionRow* const row,
                     page.walker->Row(doc->session()));
    if (!tagged.has_value() || !tagged->SameSession(*doc)) {
      tags = FoldTags(*row);
      tagged = doc;
    }
    ASSIGN_OR_RETURN(const auto run,
                     page.sight.view->Run(doc->session(), doc->run()));
    if (!run.has_value()) continue;
    ASSIGN_OR_RETURN(
        const std::vector<stored::v1::SegmentRow> segments,
        SegmentsOf(*page.sight.view, doc->session(), *run, newest_first));
    for (const auto& segment : segments) {
      if (segment.position() >= page.end.before_position) continue;
      if (ended_with.has_value() && start.last.SameSession(*doc) &&
          (newest_first ? !IsEarlier(segment, *ended_with)
                        : !IsEarlier(*ended_with, segment))) {
        continue;
      }
      if (static_cast<size_t>(response.segments_size()) == page.size) {
        response.set_next_page_token(
            SealPageEnd(*options_.keys, page.context, page.end));
        break;
      }
      *response.add_segments() = ToApiSegment(*row, tags, segment);
      page.end.last = *doc;
      page.end.segment = segment.segment();
    }
  }
  SetCompleteness(page.sight.complete, page.sight.incomplete_reason, &response);
  return response;
}

absl::StatusOr<api::v1::CountSessionsResponse> Catalog::CountSessions(
    const api::v1::CountSessionsRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FilterNode> filter,
                   ParseFilter(request.filter()));
  const std::string& group_by = request.group_by();
  if (!group_by.empty() && !IsTagKey(group_by)) {
    return FieldError(absl::StatusCode::kInvalidArgument, "BAD_GROUP_KEY",
                      "group_by", "counts are grouped by a tag's key");
  }
  stored::v1::AccessRecord record;
  // Groups show a key's values, so the record says which.
  record.set_action(group_by.empty()
                        ? "Catalog.CountSessions"
                        : absl::StrCat("Catalog.CountSessions by ", group_by));
  record.set_filter(request.filter());
  ASSIGN_OR_RETURN(const log::Position recorded,
                   RecordAccess(std::move(record), caller));
  ASSIGN_OR_RETURN(const Sight sight, Look(recorded));
  ASSIGN_OR_RETURN(const auto state, sight.view->State());
  MatchWalker::Options options;
  options.before_position = state.position();
  options.cancelled = caller.cancelled;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<MatchWalker> walker,
      MatchWalker::Create(sight.view.get(), *filter, std::move(options)));
  api::v1::CountSessionsResponse response;
  std::map<std::string, uint64_t> groups;
  uint64_t sessions = 0;
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<DocId> doc, walker->Next());
    if (!doc.has_value()) break;
    ++sessions;
    if (!group_by.empty()) {
      ASSIGN_OR_RETURN(const stored::v1::SessionRow* const row,
                       walker->Row(doc->session()));
      for (const std::string& value : ValuesOf(FoldTags(*row), group_by)) {
        ++groups[value];
      }
      if (groups.size() > limits::kMaxGroups) {
        return FieldError(
            absl::StatusCode::kResourceExhausted, "TOO_MANY_GROUPS", "group_by",
            absl::StrCat("there are more than ", limits::kMaxGroups,
                         " groups: narrow the filter"));
      }
    }
    walker->SkipSession(*doc);
  }
  response.set_sessions(sessions);
  std::vector<std::pair<std::string, uint64_t>> sorted(groups.begin(),
                                                       groups.end());
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [value, count] : sorted) {
    auto* group = response.add_groups();
    group->set_value(value);
    group->set_sessions(count);
  }
  SetCompleteness(sight.complete, sight.incomplete_reason, &response);
  return response;
}

absl::StatusOr<api::v1::GetSessionResponse> Catalog::GetSession(
    const api::v1::GetSessionRequest& request, const Caller& caller) {
  const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(request.session_id());
  if (!id.ok()) {
    return FieldError(absl::StatusCode::kInvalidArgument, "BAD_SESSION_ID",
                      "session_id", id.status().message());
  }
  stored::v1::AccessRecord record;
  record.set_action("Catalog.GetSession");
  record.set_session_id(std::string(id->bytes()));
  ASSIGN_OR_RETURN(const log::Position recorded,
                   RecordAccess(std::move(record), caller));
  ASSIGN_OR_RETURN(const Sight sight, Look(recorded));
  ASSIGN_OR_RETURN(const auto row, sight.view->Session(*id));
  if (!row.has_value()) {
    api::v1::ErrorDetail detail;
    detail.set_reason("UNKNOWN_SESSION");
    detail.set_session_id(id->ToString());
    return base::MakeError(
        absl::StatusCode::kNotFound,
        sight.complete ? "the archive has no such session"
                       : absl::StrCat("no such session is in the index, but ",
                                      sight.incomplete_reason),
        detail);
  }
  api::v1::GetSessionResponse response;
  *response.mutable_session() = ToApiSession(*row);
  for (const TagSpan& tag : FoldTags(*row)) {
    *response.add_timed_tags() = ToApiTimedTag(tag);
  }
  ASSIGN_OR_RETURN(const auto spans, sight.view->Details<stored::v1::SpanRow>(
                                         DetailPrefix(*id, DetailKind::kSpan)));
  for (const auto& span : spans) *response.add_spans() = ToApiSpan(span);
  ASSIGN_OR_RETURN(const auto gaps, sight.view->Details<stored::v1::Gap>(
                                        DetailPrefix(*id, DetailKind::kGap)));
  for (const auto& gap : ToApiGaps(*row, gaps)) *response.add_gaps() = gap;
  ASSIGN_OR_RETURN(auto events, sight.view->Details<stored::v1::EventRow>(
                                    DetailPrefix(*id, DetailKind::kEvent)));
  // They are stored as they came; a late one belongs to its time.
  std::stable_sort(
      events.begin(), events.end(),
      [](const auto& a, const auto& b) { return a.at_us() < b.at_us(); });
  for (const auto& event : events) *response.add_events() = ToApiEvent(event);
  ASSIGN_OR_RETURN(const auto anchors,
                   sight.view->Details<stored::v1::ClockAnchor>(
                       DetailPrefix(*id, DetailKind::kClockAnchor)));
  for (const auto& anchor : anchors) {
    *response.add_clock_anchors() = ToApiClockAnchor(anchor);
  }
  for (const auto& side : ToApiSides(*row)) *response.add_sides() = side;
  ASSIGN_OR_RETURN(const auto clocks,
                   sight.view->Details<stored::v1::ClockChanged>(
                       DetailPrefix(*id, DetailKind::kClockChange)));
  for (const auto& change : clocks) {
    *response.add_clock_changes() = ToApiClockChange(change);
  }
  ASSIGN_OR_RETURN(const auto states,
                   sight.view->Details<stored::v1::StateChanged>(
                       DetailPrefix(*id, DetailKind::kStateChange)));
  for (const auto& change : states) {
    *response.add_state_changes() = ToApiStateChange(change);
  }
  std::string reason = sight.incomplete_reason;
  const std::string lost = WhatSessionLost(*row);
  if (!lost.empty()) reason = lost;
  SetCompleteness(reason.empty(), reason, &response);
  return response;
}

api::v1::GetIndexStatusResponse Catalog::GetIndexStatus() const {
  const LogFollower::Status status = options_.follower->status();
  api::v1::GetIndexStatusResponse response;
  response.set_indexed_position(status.consumed);
  response.set_log_position(std::max(status.durable_end, status.consumed));
  response.set_writer_reachable(status.writer_reachable);
  response.set_sessions(status.state.sessions());
  response.set_segments(status.state.segments());
  response.set_schema_version(kSchemaVersion);
  return response;
}

}  // namespace diptych::indexer
