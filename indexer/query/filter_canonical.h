#ifndef INDEXER_QUERY_FILTER_CANONICAL_H_
#define INDEXER_QUERY_FILTER_CANONICAL_H_

#include <memory>

#include "indexer/query/filter.h"

namespace diptych::indexer {

// The same filter in a form that is planned once: AND within AND and OR within
// OR made one, nothing twice, NOT in front of no NOT, and what can't match, or
// always does, folded: kNone and kAll stand at the top alone. Which runs match
// stays the same.
std::unique_ptr<FilterNode> Canonical(const FilterNode& filter);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_FILTER_CANONICAL_H_
