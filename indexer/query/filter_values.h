#ifndef INDEXER_QUERY_FILTER_VALUES_H_
#define INDEXER_QUERY_FILTER_VALUES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "indexer/query/filter.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Filters against plain values: what a term means, said once.

// Whether a tag's value compares as a kTagCompares term asks; one that is no
// number, or no time, never does.
bool ComparesAs(const FilterNode& term, absl::string_view value);

// A term on the session itself: kStartTime, kEndTime, kDuration, kState or
// kSession.
bool IsOfSession(FilterNode::Kind kind);
// REQUIRES: IsOfSession(term.kind).
bool SatisfiesRow(const FilterNode& term, const stored::v1::SessionRow& row);

// Whether a session of this number satisfies a kStartTime term; nullopt if its
// row has to be asked. Numbers may be as many seconds late as that.
std::optional<bool> StartSatisfies(const FilterNode& term,
                                   SessionNumber session,
                                   uint32_t max_displacement_s);

// Which of a session's runs satisfy a filter, from what they were cut from.
RunSet MatchingRuns(const FilterNode& filter, const stored::v1::SessionRow& row,
                    const std::vector<TagSpan>& tags,
                    const std::vector<RunPlan>& runs);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_FILTER_VALUES_H_
