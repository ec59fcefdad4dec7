#include "indexer/query/filter_values.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "indexer/query/api_rows.h"
#include "indexer/query/filter.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;
using stored::v1::SessionRow;

constexpr int64_t kSecond_us = 1'000'000;

template <typename T>
bool Compare(T left, Comparison comparison, T right) {
  switch (comparison) {
    case Comparison::kEqual:
      return left == right;
    case Comparison::kLess:
      return left < right;
    case Comparison::kLessOrEqual:
      return left <= right;
    case Comparison::kGreater:
      return left > right;
    case Comparison::kGreaterOrEqual:
      return left >= right;
  }
  return false;
}

// One run and what it belongs to.
struct RunValues {
  const SessionRow& row;
  const std::vector<TagSpan>& tags;
  const RunPlan& run;
};

bool RunMatches(const FilterNode& filter, const RunValues& values) {
  const auto matches = [&](const auto& child) {
    return RunMatches(*child, values);
  };
  const auto any_tag = [&](const auto& satisfies) {
    return std::any_of(values.run.tags.begin(), values.run.tags.end(),
                       [&](size_t tag) {
                         return values.tags[tag].key == filter.key &&
                                satisfies(values.tags[tag].value);
                       });
  };
  switch (filter.kind) {
    case Kind::kAll:
      return true;
    case Kind::kNone:
      return false;
    case Kind::kAnd:
      return std::all_of(filter.children.begin(), filter.children.end(),
                         matches);
    case Kind::kOr:
      return std::any_of(filter.children.begin(), filter.children.end(),
                         matches);
    case Kind::kNot:
      return !matches(filter.children.front());
    case Kind::kTagEquals:
      return any_tag(
          [&](absl::string_view value) { return value == filter.value; });
    case Kind::kTagPresent:
      return any_tag([](absl::string_view) { return true; });
    case Kind::kTagCompares:
      return any_tag(
          [&](absl::string_view value) { return ComparesAs(filter, value); });
    default:
      return SatisfiesRow(filter, values.row);
  }
}

}  // namespace

bool ComparesAs(const FilterNode& term, absl::string_view value) {
  if (term.as_time) {
    int64_t time_us = 0;
    return ParseFilterTime(value, &time_us) &&
           Compare(time_us, term.comparison, term.time_us);
  }
  double number = 0;
  return ParseNumber(value, &number) &&
         Compare(number, term.comparison, term.number);
}

bool IsOfSession(Kind kind) {
  return kind == Kind::kStartTime || kind == Kind::kEndTime ||
         kind == Kind::kDuration || kind == Kind::kState ||
         kind == Kind::kSession;
}

bool SatisfiesRow(const FilterNode& term, const SessionRow& row) {
  switch (term.kind) {
    case Kind::kStartTime:
      return Compare<int64_t>(row.start_time_us(), term.comparison,
                              term.time_us);
    case Kind::kEndTime:
      return Compare(EndTime_us(row), term.comparison, term.time_us);
    case Kind::kDuration:
      return Compare<int64_t>(row.end_us(), term.comparison, term.time_us);
    case Kind::kState:
      return row.closed() == term.state &&
             (term.open_state == stored::v1::SESSION_STATE_UNSPECIFIED ||
              term.open_state == row.state());
    case Kind::kSession:
      return row.session_id() == term.session.bytes();
    default:
      return false;
  }
}

std::optional<bool> StartSatisfies(const FilterNode& term,
                                   SessionNumber session,
                                   uint32_t max_displacement_s) {
  // The numbers' ends stand for everything beyond them too.
  constexpr uint32_t kLastSecond = std::numeric_limits<uint32_t>::max();
  const uint32_t latest_s = session.second();
  const uint32_t earliest_s =
      latest_s < max_displacement_s ? 0 : latest_s - max_displacement_s;
  const int64_t first_us = earliest_s == 0 ? std::numeric_limits<int64_t>::min()
                                           : int64_t{earliest_s} * kSecond_us;
  const int64_t last_us = latest_s == kLastSecond
                              ? std::numeric_limits<int64_t>::max()
                              : (int64_t{latest_s} + 1) * kSecond_us - 1;
  const bool first = Compare(first_us, term.comparison, term.time_us);
  const bool last = Compare(last_us, term.comparison, term.time_us);
  if (term.comparison == Comparison::kEqual) {
    if (term.time_us < first_us || last_us < term.time_us) return false;
    return std::nullopt;
  }
  // Comparisons turn once, so equal ends say it for all between.
  if (first == last) return first;
  return std::nullopt;
}

RunSet MatchingRuns(const FilterNode& filter, const SessionRow& row,
                    const std::vector<TagSpan>& tags,
                    const std::vector<RunPlan>& runs) {
  RunSet matching;
  for (uint32_t i = 0; i < runs.size(); ++i) {
    if (RunMatches(filter, {row, tags, runs[i]})) matching.Append(i, i);
  }
  return matching;
}

}  // namespace diptych::indexer
