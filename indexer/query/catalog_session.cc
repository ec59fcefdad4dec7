#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "indexer/query/api_rows.h"
#include "indexer/query/catalog.h"
#include "indexer/query/field_error.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/session_tags.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

// Catalog::GetSession: all that is known of one session.

namespace diptych::indexer {
namespace {

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

}  // namespace

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
        sight.incomplete_reason.empty()
            ? "the archive has no such session"
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
  response.set_complete(reason.empty());
  response.set_incomplete_reason(reason);
  return response;
}

}  // namespace diptych::indexer
