#include "indexer/query/summary.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/tag_keys.h"
#include "indexer/query/filter.h"
#include "indexer/query/match_walker.h"
#include "indexer/query/query_cost.h"
#include "indexer/store/index_view.h"
#include "indexer/store/posting_cursor.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

// Opening a list and reading its first block, in entries.
constexpr uint64_t kCostOfList = 128;

struct Held {
  SessionNumber session;
  RunSet runs;
};

bool Meet(const RunSet& a, const RunSet& b) { return !Intersect(a, b).empty(); }

absl::Status TooManyGroups() {
  api::v1::ErrorDetail detail;
  detail.set_reason("TOO_MANY_GROUPS");
  detail.set_field("group_by");
  return base::MakeError(
      absl::StatusCode::kResourceExhausted,
      absl::StrCat("there are more than ", limits::kMaxGroups,
                   " groups: narrow the filter"),
      detail);
}

// Counts some matches, in ascending order, into facets.
class Counter {
 public:
  Counter(const IndexView& view, QueryCost* cost, RowCache* rows,
          const std::vector<Held>& matches)
      : view_(view), cost_(*cost), rows_(*rows), matches_(matches) {}

  // False if it has cost too much.
  absl::StatusOr<bool> Count(std::vector<FacetCounts>* facets) {
    std::vector<FacetCounts*> by_rows;
    for (FacetCounts& facet : *facets) {
      ASSIGN_OR_RETURN(const std::vector<std::string> values,
                       ValuesIfCheaper(facet.key));
      if (values.empty()) {
        by_rows.push_back(&facet);
        continue;
      }
      ASSIGN_OR_RETURN(const bool done, CountByLists(values, &facet));
      if (!done) return false;
    }
    if (by_rows.empty()) return true;
    return CountByRows(by_rows);
  }

 private:
  static bool WholeSession(absl::string_view key) {
    return base::IsWholeSessionKey(key);
  }

  // All values that the key ever had; none if rows are the better way.
  absl::StatusOr<std::vector<std::string>> ValuesIfCheaper(
      const std::string& key) const {
    std::vector<std::string> values;
    const uint64_t rows =
        matches_.size() * limits::kQueryCostOfRow * (WholeSession(key) ? 1 : 2);
    // Not worth looking the values up.
    if (IsPersonalKey(key) || rows <= kCostOfList) return values;
    ASSIGN_OR_RETURN(
        values, view_.DictionaryValues(key, limits::kMaxDictionaryValues + 1));
    if (values.size() > limits::kMaxDictionaryValues ||
        values.size() * kCostOfList + 2 * matches_.size() > rows) {
      values.clear();
    }
    return values;
  }

  // How many of the matches have a run in the list.
  absl::StatusOr<uint64_t> CountIn(const PostingList& list) {
    const std::unique_ptr<PostingCursor> cursor =
        NewPostingCursor(&view_.snapshot(), list, Order::kOldestFirst,
                         matches_.front().session, matches_.back().session);
    cost_.Watch(cursor.get());
    uint64_t count = 0;
    auto at = matches_.begin();
    while (cursor->Valid() && at != matches_.end() && !cost_.Spent()) {
      if (cursor->session() < at->session) {
        cursor->Seek(at->session);
      } else if (at->session < cursor->session()) {
        at = FirstFrom(at, cursor->session());
      } else {
        if (Meet(cursor->runs(), at->runs)) ++count;
        ++at;
        if (at != matches_.end()) cursor->Seek(at->session);
      }
    }
    cost_.Settle(cursor.get());
    RETURN_IF_ERROR(cursor->status());
    return count;
  }

  // In growing steps: it is often near.
  std::vector<Held>::const_iterator FirstFrom(
      std::vector<Held>::const_iterator at, SessionNumber session) const {
    size_t step = 1;
    const auto before = [&](const Held& held) {
      return held.session < session;
    };
    while (step < static_cast<size_t>(matches_.end() - at) &&
           before(*(at + static_cast<ptrdiff_t>(step)))) {
      at += static_cast<ptrdiff_t>(step);
      step *= 2;
    }
    const auto end = at + std::min<ptrdiff_t>(static_cast<ptrdiff_t>(step) + 1,
                                              matches_.end() - at);
    return std::partition_point(at, end, before);
  }

  absl::StatusOr<bool> CountByLists(const std::vector<std::string>& values,
                                    FacetCounts* facet) {
    for (const std::string& value : values) {
      ASSIGN_OR_RETURN(const uint64_t count,
                       CountIn(ValueList(view_.keys(), facet->key, value)));
      if (count > 0) facet->sessions[value] += count;
      if (cost_.Spent()) return false;
    }
    ASSIGN_OR_RETURN(const uint64_t with,
                     CountIn(KeyList(view_.keys(), facet->key)));
    if (cost_.Spent()) return false;
    facet->without += matches_.size() - with;
    return true;
  }

  absl::StatusOr<bool> CountByRows(const std::vector<FacetCounts*>& facets) {
    const bool whole = std::all_of(
        facets.begin(), facets.end(),
        [](const FacetCounts* facet) { return WholeSession(facet->key); });
    for (const Held& match : matches_) {
      if (cost_.Spent()) return false;
      ASSIGN_OR_RETURN(const stored::v1::SessionRow* const row,
                       rows_.At(match.session));
      const std::vector<TagSpan> tags = FoldTags(*row);
      std::vector<size_t> held;
      if (whole) {
        // Such tags are every run's.
        for (size_t i = 0; i < tags.size(); ++i) held.push_back(i);
      } else {
        ASSIGN_OR_RETURN(held, TagsOfRuns(match, *row, tags));
      }
      for (FacetCounts* const facet : facets) {
        std::set<absl::string_view> values;
        for (const size_t tag : held) {
          if (tags[tag].key == facet->key) values.insert(tags[tag].value);
        }
        if (values.empty()) ++facet->without;
        for (const absl::string_view value : values) {
          ++facet->sessions[std::string(value)];
        }
        if (facet->sessions.size() > limits::kMaxGroups) {
          return TooManyGroups();
        }
      }
    }
    return true;
  }

  // Indexes into `tags`, of those that a matching run has.
  absl::StatusOr<std::vector<size_t>> TagsOfRuns(
      const Held& match, const stored::v1::SessionRow& row,
      const std::vector<TagSpan>& tags) {
    ASSIGN_OR_RETURN(const auto segments, view_.Segments(match.session));
    cost_.AddRows();
    std::vector<SegmentTimes> times;
    times.reserve(segments.size());
    for (const auto& segment : segments) times.push_back(TimesOf(segment));
    const RunPlanner plan = PlanRuns(row, tags, &times);
    const std::vector<RunPlan>& runs = plan.runs();
    std::set<size_t> held;
    RunSteps wanted(match.runs);
    for (uint32_t i = 0; i < runs.size(); ++i) {
      if (!wanted.Contains(i)) continue;
      held.insert(runs[i].tags.begin(), runs[i].tags.end());
    }
    return std::vector<size_t>(held.begin(), held.end());
  }

  const IndexView& view_;
  QueryCost& cost_;
  RowCache& rows_;
  const std::vector<Held>& matches_;
};

}  // namespace

absl::StatusOr<Summary> Summarize(const IndexView& view,
                                  const FilterNode& filter,
                                  const SummaryOptions& options) {
  MatchWalker::Options walk;
  walk.order = Order::kOldestFirst;
  walk.cancelled = options.cancelled;
  walk.max_cost = options.max_cost;
  ASSIGN_OR_RETURN(const std::unique_ptr<MatchWalker> walker,
                   MatchWalker::Create(&view, filter, std::move(walk)));
  // The rows that the filter asks for are not those of the matches at hand.
  RowCache rows(&view, &walker->cost());
  Summary summary;
  for (const std::string& key : options.keys) {
    summary.facets.emplace_back().key = key;
  }
  std::vector<Held> held;
  for (bool more = true; more && summary.complete;) {
    ASSIGN_OR_RETURN(const Match* const match, walker->Next());
    more = match != nullptr;
    if (more) {
      ++summary.sessions;
      if (!options.keys.empty()) held.push_back({match->session, match->runs});
    }
    if (held.empty() || (more && held.size() < limits::kMatchesAtOnce))
      continue;
    Counter counter(view, &walker->cost(), &rows, held);
    ASSIGN_OR_RETURN(summary.complete, counter.Count(&summary.facets));
    held.clear();
  }
  if (walker->stopped_at().has_value()) summary.complete = false;
  if (walker->cost().was_cancelled()) {
    return absl::CancelledError("the caller has gone");
  }
  return summary;
}

}  // namespace diptych::indexer
