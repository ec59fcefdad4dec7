#ifndef INDEXER_STORE_POSTING_CURSOR_H_
#define INDEXER_STORE_POSTING_CURSOR_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// Walks a posting list over all its blocks, in one order, within bounds. Not
// thread-safe.
class PostingCursor {
 public:
  virtual ~PostingCursor() = default;

  // False at the end and after an error: look at status() then.
  virtual bool Valid() const = 0;
  // REQUIRES: Valid().
  virtual SessionNumber session() const = 0;
  // REQUIRES: Valid(). Good until the cursor moves. None, and no longer valid,
  // if they are unreadable.
  virtual const RunSet& runs() = 0;
  virtual void Next() = 0;
  // To the first at or after `target` in the order. Never goes back.
  virtual void Seek(SessionNumber target) = 0;
  virtual absl::Status status() const = 0;

  // Sessions of the list in a second, by the block at hand: how rare it is.
  // 0 at the end.
  virtual double density() const = 0;
  // What it has cost so far, in entries decoded; a block read counts as 64.
  virtual uint64_t cost() const = 0;
};

// Positioned on the first with lower <= session <= upper. `snapshot` must
// outlive it.
std::unique_ptr<PostingCursor> NewPostingCursor(const IndexSnapshot* snapshot,
                                                const PostingList& list,
                                                Order order,
                                                SessionNumber lower,
                                                SessionNumber upper);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_CURSOR_H_
