#ifndef INDEXER_STORE_POSTING_MERGE_H_
#define INDEXER_STORE_POSTING_MERGE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace diptych::indexer {

// What a block comes to under changes, in their order; the merge of the store.
// `base` may be empty: no block yet. A block without sessions may come of it.
// DATA_LOSS if one of them is unreadable.
absl::StatusOr<std::string> MergePostingBlock(
    absl::string_view base, absl::Span<const absl::string_view> changes);

// Several changes as one.
absl::StatusOr<std::string> MergePostingChanges(
    absl::Span<const absl::string_view> changes);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_MERGE_H_
