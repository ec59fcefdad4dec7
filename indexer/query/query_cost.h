#ifndef INDEXER_QUERY_QUERY_COST_H_
#define INDEXER_QUERY_QUERY_COST_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "archiver/base/limits.h"
#include "indexer/store/posting_cursor.h"

namespace diptych::indexer {

// What a query has cost, against what it may. Not thread-safe.
class QueryCost {
 public:
  // `cancelled` is asked now and then; true ends the query. It may be empty.
  explicit QueryCost(uint64_t most = limits::kMaxQueryCost,
                     std::function<bool()> cancelled = nullptr)
      : most_(most), cancelled_(std::move(cancelled)) {}
  QueryCost(const QueryCost&) = delete;
  QueryCost& operator=(const QueryCost&) = delete;

  // `cursor` must outlive the last call of Spent, or be settled.
  void Watch(const PostingCursor* cursor) { watched_.push_back(cursor); }
  // Its cost so far stays counted; it is not looked at any more.
  void Settle(const PostingCursor* cursor) {
    const auto at = std::find(watched_.begin(), watched_.end(), cursor);
    if (at == watched_.end()) return;
    settled_ += cursor->cost();
    watched_.erase(at);
  }
  void AddRows(uint64_t rows = 1) {
    settled_ += rows * limits::kQueryCostOfRow;
    // Rows are dear: look at once.
    steps_ = 0;
  }

  // True from when it has cost too much, or nobody waits for it, on. Cheap:
  // looks at the cursors now and then only.
  bool Spent() {
    if (spent_ || steps_-- > 0) return spent_;
    // Many cursors are not summed up often.
    steps_ = kSteps + watched_.size();
    uint64_t total = settled_;
    for (const PostingCursor* cursor : watched_) total += cursor->cost();
    if (cancelled_ && looks_++ % kLooksPerCheck == 0)
      was_cancelled_ = cancelled_();
    spent_ = total >= most_ || was_cancelled_;
    return spent_;
  }
  bool was_cancelled() const { return was_cancelled_; }

 private:
  static constexpr size_t kSteps = 64;
  static constexpr size_t kLooksPerCheck = limits::kQueryStepsPerCheck / kSteps;

  const uint64_t most_;
  const std::function<bool()> cancelled_;
  std::vector<const PostingCursor*> watched_;
  uint64_t settled_ = 0;
  size_t steps_ = 0;
  size_t looks_ = 0;
  bool spent_ = false;
  bool was_cancelled_ = false;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_QUERY_COST_H_
