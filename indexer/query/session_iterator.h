#ifndef INDEXER_QUERY_SESSION_ITERATOR_H_
#define INDEXER_QUERY_SESSION_ITERATOR_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "indexer/query/query_cost.h"
#include "indexer/store/posting_cursor.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// For each session a set of its runs, asked for session by session and never
// back. What is rare can be walked too; the walk may pass through sessions of
// which no run is in the set, so that what is dear to check is checked last.
// Not thread-safe.
class SessionIterator {
 public:
  virtual ~SessionIterator() = default;

  // Puts the session's runs in `runs`. A set that can't be walked may name runs
  // that the session does not have: NOT does.
  virtual absl::Status Probe(SessionNumber session, RunSet* runs) = 0;
  // How dear that is: 0 for lists, 1 for what may read rows.
  virtual int dearness() const { return 0; }
  virtual absl::Status status() const = 0;

  // False for what nearly every session may be in, such as NOT: something else
  // has to lead. The rest is for those that can be walked.
  virtual bool walkable() const { return true; }
  // False at the end and after an error: look at status() then.
  virtual bool Valid() const = 0;
  // REQUIRES: Valid().
  virtual SessionNumber session() const = 0;
  virtual void Next() = 0;
  // To the first at or after `target`, in the order. Never goes back.
  virtual void Seek(SessionNumber target) = 0;
  // Sessions in a second, about.
  virtual double density() const = 0;
};

using SessionIterators = std::vector<std::unique_ptr<SessionIterator>>;

// Every run that a session may have.
RunSet EveryRun();

// A posting list. `cost`, which must outlive it, watches the cursor.
std::unique_ptr<SessionIterator> NewPostingIterator(
    std::unique_ptr<PostingCursor> cursor, Order order, QueryCost* cost);

// In all of the children: the rarest leads, the others are sought in. Can be
// walked if one of the children can. REQUIRES: at least one child.
std::unique_ptr<SessionIterator> NewAndIterator(Order order, QueryCost* cost,
                                                SessionIterators children);
// In any of the children. Can be walked if all of the children can.
// REQUIRES: at least one child.
std::unique_ptr<SessionIterator> NewOrIterator(Order order,
                                               SessionIterators children);
// Not in `child`. Can't be walked.
std::unique_ptr<SessionIterator> NewNotIterator(
    std::unique_ptr<SessionIterator> child);

using SessionPredicate = std::function<absl::StatusOr<bool>(SessionNumber)>;
// All runs of a session, or none. Can't be walked.
std::unique_ptr<SessionIterator> NewPredicateIterator(
    SessionPredicate predicate);

// Nothing at all.
std::unique_ptr<SessionIterator> NewEmptyIterator();

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_SESSION_ITERATOR_H_
