#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "indexer/query/catalog.h"
#include "indexer/query/field_error.h"
#include "indexer/query/filter.h"
#include "indexer/query/summary.h"
#include "indexer/store/index_view.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/records.pb.h"

// Catalog's counts.

namespace diptych::indexer {
namespace {

using Groups = std::vector<std::pair<std::string, uint64_t>>;

// Of a group on the wire beside its value, at most.
constexpr size_t kGroup_bytes = 24;
// All groups of one key are less than what clients take.
static_assert(limits::kMaxGroups * (limits::kMaxTagValue_bytes + kGroup_bytes) <
              size_t{4} << 20);

// Largest first; equal ones by their values.
Groups Sorted(const std::map<std::string, uint64_t>& counts) {
  Groups groups(counts.begin(), counts.end());
  std::stable_sort(
      groups.begin(), groups.end(),
      [](const auto& a, const auto& b) { return a.second > b.second; });
  return groups;
}

// Adds at most so many; returns how many it has left out.
template <typename Message>
uint64_t AddGroups(const Groups& groups, size_t most, size_t most_bytes,
                   Message* message) {
  size_t bytes = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    bytes += groups[i].first.size() + kGroup_bytes;
    if (i == most || bytes > most_bytes) return groups.size() - i;
    auto* const group = message->add_groups();
    group->set_value(groups[i].first);
    group->set_sessions(groups[i].second);
  }
  return 0;
}

template <typename Response>
void SetCompleteness(bool seen_all, const std::string& lacking,
                     Response* response) {
  response->set_complete(seen_all && lacking.empty());
  response->set_incomplete_reason(
      seen_all ? lacking
               : "the filter is too broad: counting stopped early, so the "
                 "counts are too small; narrow it with a time or another tag");
}

}  // namespace

absl::StatusOr<api::v1::CountSessionsResponse> Catalog::CountSessions(
    const api::v1::CountSessionsRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FilterNode> filter,
                   ParseFilter(request.filter()));
  SummaryOptions options;
  options.cancelled = caller.cancelled;
  options.max_cost = options_.max_query_cost;
  const std::string& group_by = request.group_by();
  if (!group_by.empty()) {
    if (!IsTagKey(group_by)) {
      return FieldError(absl::StatusCode::kInvalidArgument, "BAD_GROUP_KEY",
                        "group_by", "counts are grouped by a tag's key");
    }
    options.keys.push_back(group_by);
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
  ASSIGN_OR_RETURN(const Summary summary,
                   indexer::Summarize(*sight.view, *filter, options));
  api::v1::CountSessionsResponse response;
  response.set_sessions(summary.sessions);
  for (const FacetCounts& facet : summary.facets) {
    const Groups groups = Sorted(facet.sessions);
    AddGroups(groups, groups.size(), std::numeric_limits<size_t>::max(),
              &response);
  }
  SetCompleteness(summary.complete, sight.incomplete_reason, &response);
  return response;
}

absl::StatusOr<api::v1::SummarizeResponse> Catalog::Summarize(
    const api::v1::SummarizeRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FilterNode> filter,
                   ParseFilter(request.filter()));
  if (request.keys().empty() || request.keys_size() > limits::kMaxSummaryKeys ||
      !std::all_of(request.keys().begin(), request.keys().end(),
                   [](const std::string& key) { return IsTagKey(key); })) {
    return FieldError(absl::StatusCode::kInvalidArgument, "BAD_GROUP_KEY",
                      "keys",
                      absl::StrCat("counts are grouped by 1 to ",
                                   limits::kMaxSummaryKeys, " tags' keys"));
  }
  SummaryOptions options;
  options.keys.assign(request.keys().begin(), request.keys().end());
  options.cancelled = caller.cancelled;
  options.max_cost = options_.max_query_cost;
  stored::v1::AccessRecord record;
  record.set_action(
      absl::StrCat("Catalog.Summarize by ", absl::StrJoin(options.keys, ",")));
  record.set_filter(request.filter());
  ASSIGN_OR_RETURN(const log::Position recorded,
                   RecordAccess(std::move(record), caller));
  ASSIGN_OR_RETURN(const Sight sight, Look(recorded));
  ASSIGN_OR_RETURN(const Summary summary,
                   indexer::Summarize(*sight.view, *filter, options));
  const size_t most =
      request.max_values() == 0
          ? limits::kDefaultSummaryValues
          : std::min<size_t>(request.max_values(), limits::kMaxGroups);
  api::v1::SummarizeResponse response;
  response.set_sessions(summary.sessions);
  for (const FacetCounts& counts : summary.facets) {
    auto* const facet = response.add_facets();
    facet->set_key(counts.key);
    const Groups groups = Sorted(counts.sessions);
    facet->set_more_values(AddGroups(
        groups, most, limits::kMaxPage_bytes / options.keys.size(), facet));
    facet->set_without(counts.without);
  }
  SetCompleteness(summary.complete, sight.incomplete_reason, &response);
  return response;
}

}  // namespace diptych::indexer
