#ifndef INDEXER_QUERY_DOC_ITERATOR_H_
#define INDEXER_QUERY_DOC_ITERATOR_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/log/record.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"

namespace diptych::indexer {

// Where an answer's walk goes.
enum class Order { kNewestFirst, kOldestFirst };

// True if a comes strictly before b in the order.
inline bool Before(Order order, const DocId& a, const DocId& b) {
  return order == Order::kNewestFirst ? a < b : b < a;
}

// Which documents (runs) a walk may see.
struct DocBounds {
  DocId lower;
  DocId upper = DocId::Largest();

  bool empty() const { return upper < lower; }
  // Keeps what is in both.
  void Intersect(const DocBounds& other) {
    if (lower < other.lower) lower = other.lower;
    if (other.upper < upper) upper = other.upper;
  }
};

// A set of documents that is walked in one order. The walk itself may pass
// through documents that are not in the set (it approximates); Matches tells.
// That way what is dear to check, such as a session's end, is checked last.
// Not thread-safe.
class DocIterator {
 public:
  virtual ~DocIterator() = default;

  // False at the end and after an error: look at status() then.
  virtual bool Valid() const = 0;
  // REQUIRES: Valid().
  virtual const DocId& doc() const = 0;
  virtual void Next() = 0;
  // To the first at or after `target`, in the order. Never goes back.
  virtual void Seek(const DocId& target) = 0;
  // Whether doc() really is in the set. REQUIRES: Valid().
  virtual absl::StatusOr<bool> Matches() = 0;
  // Whether `doc` is in the set; `doc` never goes back from call to call. A set
  // that is walked by this is not walked otherwise.
  virtual absl::StatusOr<bool> Contains(const DocId& doc);
  // True if the walk passes through everything, so that another set should
  // lead where there is one.
  virtual bool approximates_all() const { return false; }
  virtual absl::Status status() const = 0;
};

// The runs posted under a token, within bounds, whose postings are older than
// `before_position`. Positioned on the first.
std::unique_ptr<DocIterator> NewPostingIterator(const IndexView* view,
                                                absl::string_view token,
                                                Order order,
                                                const DocBounds& bounds,
                                                log::Position before_position);

// In all of the children; in any of them.
// REQUIRES: at least one child.
std::unique_ptr<DocIterator> NewAndIterator(
    Order order, std::vector<std::unique_ptr<DocIterator>> children);
std::unique_ptr<DocIterator> NewOrIterator(
    Order order, std::vector<std::unique_ptr<DocIterator>> children);

// In `all` and not in `child`.
std::unique_ptr<DocIterator> NewNotIterator(std::unique_ptr<DocIterator> all,
                                            std::unique_ptr<DocIterator> child);

using DocPredicate = std::function<absl::StatusOr<bool>(const DocId&)>;

// In `all` where the predicate says so.
std::unique_ptr<DocIterator> NewPredicateIterator(
    std::unique_ptr<DocIterator> all, DocPredicate predicate);

// Nothing at all.
std::unique_ptr<DocIterator> NewEmptyIterator();

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_DOC_ITERATOR_H_
