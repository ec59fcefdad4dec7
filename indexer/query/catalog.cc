#include "indexer/query/catalog.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "indexer/builder/log_follower.h"
#include "indexer/query/api_rows.h"
#include "indexer/query/filter.h"
#include "indexer/query/match_rows.h"
#include "indexer/query/match_walker.h"
#include "indexer/query/page_token.h"
#include "indexer/query/past_sessions.h"
#include "indexer/query/segment_hints.h"
#include "indexer/query/segment_walker.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

// Who asks what is written down, how much is seen, and lists page by page.

namespace diptych::indexer {
namespace {

constexpr absl::string_view kListSessions = "ListSessions";

size_t PageSize(uint32_t asked) {
  if (asked == 0) return limits::kDefaultPageSize;
  return std::min(asked, limits::kMaxPageSize);
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

// Of a list that has cost too much.
std::string TooBroad(SessionNumber stopped_at) {
  return absl::StrCat(
      "the filter is too broad: stopped at sessions that began around ",
      absl::FormatTime("%Y-%m-%dT%H:%M:%SZ",
                       absl::FromUnixSeconds(stopped_at.second()),
                       absl::UTCTimeZone()),
      "; go on with the next page, or narrow it with a time or another tag");
}

// What an earlier moment's answer can't find any more is the page's end.
absl::Status OfPage(absl::Status status) {
  return absl::IsOutOfRange(status) ? PageExpired() : std::move(status);
}

}  // namespace

absl::StatusOr<log::Position> Catalog::RecordAccess(
    stored::v1::AccessRecord record, const Caller& caller) {
  record.set_principal(caller.principal);
  record.set_time_us(absl::ToUnixMicros(options_.clock->Now()));
  return options_.access->Record(record);
}

absl::StatusOr<Catalog::Sight> Catalog::Look(log::Position recorded) {
  const log::Position target =
      std::max(recorded, options_.follower->status().durable_end);
  // What lies before a durable record is durable too, and the writer has only
  // just answered: no need to wait until it tells the follower itself.
  options_.follower->SetDurableEnd(recorded);
  const bool reached =
      options_.follower->WaitUntil(target, limits::kQueryFreshnessWait);
  const LogFollower::Status status = options_.follower->status();
  Sight sight;
  sight.view = std::make_unique<IndexView>(options_.store, options_.keys);
  ASSIGN_OR_RETURN(sight.state, sight.view->State());
  if (options_.trouble) sight.incomplete_reason = options_.trouble();
  if (!sight.incomplete_reason.empty()) return sight;
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
    sight.incomplete_reason = WhatIsLost(sight.state);
  }
  return sight;
}

template <typename Request>
absl::StatusOr<Catalog::Page> Catalog::BeginPage(absl::string_view method,
                                                 const Request& request,
                                                 const Caller& caller) {
  Page page;
  ASSIGN_OR_RETURN(const std::unique_ptr<FilterNode> filter,
                   ParseFilter(request.filter()));
  page.order =
      request.oldest_first() ? Order::kOldestFirst : Order::kNewestFirst;
  page.size = PageSize(request.page_size());
  page.context =
      PageContext(method, page.order, caller.principal, request.filter());
  page.continued = !request.page_token().empty();
  page.place.asked = options_.clock->Now();
  if (page.continued) {
    ASSIGN_OR_RETURN(
        page.place, OpenPage(*options_.keys, page.context, request.page_token(),
                             page.place.asked));
  }
  stored::v1::AccessRecord record;
  record.set_action(absl::StrCat("Catalog.", method));
  record.set_filter(request.filter());
  ASSIGN_OR_RETURN(const log::Position recorded,
                   RecordAccess(std::move(record), caller));
  ASSIGN_OR_RETURN(page.sight, Look(recorded));
  // The log was restored from an older copy since.
  if (page.place.position > std::max(recorded, page.sight.state.position())) {
    return PageExpired();
  }
  MatchWalker::Options options;
  options.order = page.order;
  options.cancelled = caller.cancelled;
  options.max_cost = options_.max_query_cost;
  options.shows_rows = method == kListSessions;
  if (page.continued) {
    auto past = PastSessions::Load(page.sight.view.get(), page.place.position);
    if (!past.ok()) return OfPage(past.status());
    page.past = *std::move(past);
    options.past = page.past.get();
    options.from = page.place.session;
  } else {
    // The whole answer, over all its pages, is of this moment.
    page.place.position = page.sight.state.position();
  }
  ASSIGN_OR_RETURN(
      page.walker,
      MatchWalker::Create(page.sight.view.get(), *filter, std::move(options)));
  return page;
}

template <typename Row>
bool Catalog::HasRoomFor(const Row& row, Page* page) {
  const size_t bytes = row.ByteSizeLong();
  if (page->bytes > 0 && page->bytes + bytes > limits::kMaxPage_bytes)
    return false;
  page->bytes += bytes;
  return true;
}

template <typename Response>
void Catalog::EndPage(const Page& page, bool more, Response* response) const {
  std::string reason = page.sight.incomplete_reason;
  if (more) {
    response->set_next_page_token(
        SealPage(*options_.keys, page.context, page.place));
  } else if (page.walker->stopped_at().has_value()) {
    PagePlace rest = page.place;
    // Of a session that the page began in, some segments are done already.
    if (rest.session != *page.walker->stopped_at()) rest.segment.reset();
    rest.session = *page.walker->stopped_at();
    response->set_next_page_token(SealPage(*options_.keys, page.context, rest));
    reason = TooBroad(rest.session);
  }
  response->set_complete(reason.empty());
  response->set_incomplete_reason(reason);
}

absl::Status Catalog::FillPage(Page* page,
                               api::v1::ListSessionsResponse* response) {
  bool more = false;
  for (;;) {
    ASSIGN_OR_RETURN(const Match* const match, page->walker->Next());
    if (match == nullptr) break;
    // One more than the page: there is another.
    more = static_cast<size_t>(response->sessions_size()) == page->size;
    api::v1::Session session;
    if (!more) {
      ASSIGN_OR_RETURN(const stored::v1::SessionRow* const row,
                       RowOf(*match, &page->walker->rows()));
      session = ToApiSession(*row);
      ASSIGN_OR_RETURN(const MatchedRuns runs,
                       RunsOf(*page->sight.view, *match));
      for (const TimeRange& range :
           RangesOf(runs.runs, OpenEnd_us(*row, match->runs))) {
        api::v1::MatchedRange* const matched = session.add_matched();
        matched->set_start_us(range.start_us);
        matched->set_end_us(range.end_us);
      }
      more = !HasRoomFor(session, page);
    }
    if (more) {
      page->place.session = match->session;
      page->place.segment.reset();
      break;
    }
    *response->add_sessions() = std::move(session);
  }
  EndPage(*page, more, response);
  return absl::OkStatus();
}

absl::Status Catalog::FillPage(Page* page,
                               api::v1::ListSegmentsResponse* response) {
  const IndexView& view = *page->sight.view;
  std::optional<SegmentWalker::Place> first;
  if (page->continued && page->place.segment.has_value()) {
    first = {page->place.session, *page->place.segment};
  }
  SegmentWalker segments(&view, page->walker.get(), page->order, first);
  SegmentHints hints(&view, page->place.position);
  std::vector<TagSpan> tags;
  std::optional<SessionNumber> tagged;
  bool more = false;
  for (;;) {
    ASSIGN_OR_RETURN(const auto found, segments.Next());
    if (!found.has_value()) break;
    const Match& match = *found->match;
    more = static_cast<size_t>(response->segments_size()) == page->size;
    api::v1::Segment segment;
    if (!more) {
      ASSIGN_OR_RETURN(const stored::v1::SessionRow* const row,
                       RowOf(match, &page->walker->rows()));
      if (tagged != match.session) {
        tags = FoldTags(*row);
        tagged = match.session;
      }
      segment = ToApiSegment(*row, tags, *found->segment);
      RETURN_IF_ERROR(hints.AddTo(found->session, *found->segment, &segment));
      more = !HasRoomFor(segment, page);
    }
    if (more) {
      page->place.session = match.session;
      page->place.segment = found->segment->segment();
      break;
    }
    *response->add_segments() = std::move(segment);
  }
  EndPage(*page, more, response);
  return absl::OkStatus();
}

absl::StatusOr<api::v1::ListSessionsResponse> Catalog::ListSessions(
    const api::v1::ListSessionsRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(Page page, BeginPage(kListSessions, request, caller));
  api::v1::ListSessionsResponse response;
  RETURN_IF_ERROR(OfPage(FillPage(&page, &response)));
  return response;
}

absl::StatusOr<api::v1::ListSegmentsResponse> Catalog::ListSegments(
    const api::v1::ListSegmentsRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(Page page, BeginPage("ListSegments", request, caller));
  api::v1::ListSegmentsResponse response;
  RETURN_IF_ERROR(OfPage(FillPage(&page, &response)));
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
  response.set_lag_us(status.lag_us);
  response.set_worst_lag_us(status.worst_lag_us);
  if (options_.rebuild) {
    const auto rebuild = options_.rebuild();
    if (rebuild.has_value()) *response.mutable_rebuild() = *rebuild;
  }
  std::string reason = options_.trouble ? options_.trouble() : "";
  if (reason.empty()) reason = WhatIsLost(status.state);
  response.set_incomplete_reason(reason);
  return response;
}

}  // namespace diptych::indexer
