#ifndef INDEXER_QUERY_MATCH_WALKER_H_
#define INDEXER_QUERY_MATCH_WALKER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/query/doc_iterator.h"
#include "indexer/query/filter.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Walks the runs that satisfy a filter, in order. Not thread-safe; `view` and
// `filter` must outlive it.
class MatchWalker {
 public:
  struct Options {
    Order order = Order::kNewestFirst;
    // Postings from this log position on are not seen.
    log::Position before_position = 0;
    // Asked now and then; true ends the walk with CANCELLED. May be empty.
    std::function<bool()> cancelled;
  };

  // Plans the filter. INVALID_ARGUMENT or RESOURCE_EXHAUSTED, with the place,
  // if it can't be answered.
  static absl::StatusOr<std::unique_ptr<MatchWalker>> Create(
      const IndexView* view, const FilterNode& filter, Options options);

  // The next match; nullopt at the end.
  absl::StatusOr<std::optional<DocId>> Next();

  // Goes on behind all runs of doc's session.
  void SkipSession(const DocId& doc);
  // Goes on with the first run of doc's session.
  void GoToSession(const DocId& doc);

  // The session's row; good until another is asked for. NOT_FOUND if there is
  // none.
  absl::StatusOr<const stored::v1::SessionRow*> Row(const base::Uuid& session);

 private:
  using Iterators = std::vector<std::unique_ptr<DocIterator>>;

  MatchWalker(const IndexView* view, Options options)
      : view_(view), options_(std::move(options)) {}

  absl::Status NarrowBounds(const FilterNode& node);
  absl::StatusOr<std::unique_ptr<DocIterator>> Plan(const FilterNode& node);
  absl::StatusOr<Iterators> PlanChildren(const FilterNode& node);
  absl::StatusOr<std::unique_ptr<DocIterator>> PlanComparison(
      const FilterNode& node);
  absl::StatusOr<std::unique_ptr<DocIterator>> Posting(absl::string_view token,
                                                       const FilterNode& node);
  absl::StatusOr<std::unique_ptr<DocIterator>> All(const FilterNode& node);
  absl::StatusOr<bool> SatisfiesRow(const FilterNode& node, const DocId& doc);

  const IndexView* const view_;
  const Options options_;
  DocBounds bounds_;
  size_t postings_ = 0;
  size_t steps_ = 0;
  std::unique_ptr<DocIterator> root_;
  // Positioned before the first, or on one that was handed out already.
  bool pending_step_ = false;
  std::optional<stored::v1::SessionRow> row_;
  base::Uuid row_session_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_MATCH_WALKER_H_
