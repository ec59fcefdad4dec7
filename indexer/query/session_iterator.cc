#include "indexer/query/session_iterator.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/query_cost.h"
#include "indexer/store/posting_cursor.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

class PostingIterator final : public SessionIterator {
 public:
  PostingIterator(std::unique_ptr<PostingCursor> cursor, Order order,
                  QueryCost* cost)
      : cursor_(std::move(cursor)), order_(order), cost_(cost) {
    cost_->Watch(cursor_.get());
  }
  ~PostingIterator() override { cost_->Settle(cursor_.get()); }

  absl::Status Probe(SessionNumber session, RunSet* runs) override {
    Seek(session);
    *runs = RunSet();
    if (!cursor_->Valid()) return cursor_->status();
    if (cursor_->session() != session) return absl::OkStatus();
    *runs = cursor_->runs();
    // Bytes that can't be read show when the runs are unpacked.
    return cursor_->Valid() ? absl::OkStatus() : cursor_->status();
  }
  absl::Status status() const override { return cursor_->status(); }
  bool Valid() const override { return cursor_->Valid(); }
  SessionNumber session() const override { return cursor_->session(); }
  void Next() override { cursor_->Next(); }
  void Seek(SessionNumber target) override {
    if (cursor_->Valid() && Before(order_, cursor_->session(), target)) {
      cursor_->Seek(target);
    }
  }
  double density() const override { return cursor_->density(); }

 private:
  const std::unique_ptr<PostingCursor> cursor_;
  const Order order_;
  QueryCost* const cost_;
};

class AndIterator final : public SessionIterator {
 public:
  AndIterator(Order order, QueryCost* cost, SessionIterators children)
      : order_(order), cost_(cost) {
    for (auto& child : children) {
      dearness_ = std::max(dearness_, child->dearness());
      (child->walkable() ? walked_ : probed_).push_back(std::move(child));
    }
    std::stable_sort(walked_.begin(), walked_.end(),
                     [](const auto& a, const auto& b) {
                       return a->density() < b->density();
                     });
    std::stable_sort(probed_.begin(), probed_.end(),
                     [](const auto& a, const auto& b) {
                       return a->dearness() < b->dearness();
                     });
    if (!walked_.empty()) Align();
  }

  absl::Status Probe(SessionNumber session, RunSet* runs) override {
    *runs = EveryRun();
    RunSet of_child;
    for (const SessionIterators* children : {&walked_, &probed_}) {
      for (const auto& child : *children) {
        RETURN_IF_ERROR(child->Probe(session, &of_child));
        *runs = Intersect(*runs, of_child);
        if (runs->empty()) return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }
  int dearness() const override { return dearness_; }
  absl::Status status() const override {
    for (const SessionIterators* children : {&walked_, &probed_}) {
      for (const auto& child : *children) RETURN_IF_ERROR(child->status());
    }
    return absl::OkStatus();
  }
  bool walkable() const override { return !walked_.empty(); }
  bool Valid() const override { return valid_; }
  SessionNumber session() const override { return walked_.front()->session(); }
  void Next() override {
    walked_.front()->Next();
    Align();
  }
  void Seek(SessionNumber target) override {
    if (!valid_ || !Before(order_, session(), target)) return;
    walked_.front()->Seek(target);
    Align();
  }
  double density() const override {
    return walked_.empty() ? std::numeric_limits<double>::infinity()
                           : walked_.front()->density();
  }

 private:
  // Leapfrog: the first goes to where another stands until all agree. A query
  // that has cost enough may end in between, on what is no match: Probe tells.
  void Align() {
    SessionIterator& leader = *walked_.front();
    valid_ = false;
    for (size_t i = 1; leader.Valid();) {
      if (i == walked_.size()) break;
      if (cost_->Spent()) break;
      SessionIterator& child = *walked_[i];
      child.Seek(leader.session());
      if (!child.Valid()) return;
      if (child.session() == leader.session()) {
        ++i;
      } else {
        leader.Seek(child.session());
        i = 1;
      }
    }
    valid_ = leader.Valid();
  }

  const Order order_;
  QueryCost* const cost_;
  // Rarest first; cheapest first.
  SessionIterators walked_;
  SessionIterators probed_;
  int dearness_ = 0;
  bool valid_ = false;
};

class OrIterator final : public SessionIterator {
 public:
  OrIterator(Order order, SessionIterators children)
      : order_(order), children_(std::move(children)) {
    for (const auto& child : children_) {
      dearness_ = std::max(dearness_, child->dearness());
      walkable_ = walkable_ && child->walkable();
    }
    if (!walkable_) return;
    for (const auto& child : children_) Enter(child.get());
  }

  absl::Status Probe(SessionNumber session, RunSet* runs) override {
    *runs = RunSet();
    RunSet of_child;
    if (!walkable_) {
      for (const auto& child : children_) {
        RETURN_IF_ERROR(child->Probe(session, &of_child));
        *runs = Unite(*runs, of_child);
      }
      return absl::OkStatus();
    }
    Seek(session);
    RETURN_IF_ERROR(failed_);
    std::vector<SessionIterator*> here;
    while (Valid() && this->session() == session) here.push_back(Leave());
    for (SessionIterator* child : here) {
      RETURN_IF_ERROR(child->Probe(session, &of_child));
      *runs = Unite(*runs, of_child);
      Enter(child);
    }
    return failed_;
  }
  int dearness() const override { return dearness_; }
  absl::Status status() const override {
    RETURN_IF_ERROR(failed_);
    for (const auto& child : children_) RETURN_IF_ERROR(child->status());
    return absl::OkStatus();
  }
  bool walkable() const override { return walkable_; }
  bool Valid() const override { return failed_.ok() && !heap_.empty(); }
  SessionNumber session() const override { return heap_.front()->session(); }
  void Next() override {
    for (const SessionNumber now = session(); Valid() && session() == now;) {
      SessionIterator* const child = Leave();
      child->Next();
      Enter(child);
    }
  }
  void Seek(SessionNumber target) override {
    while (Valid() && Before(order_, session(), target)) {
      SessionIterator* const child = Leave();
      child->Seek(target);
      Enter(child);
    }
  }
  double density() const override {
    double sum = 0;
    for (const auto& child : children_) sum += child->density();
    return sum;
  }

 private:
  // The heap has the first in the order on top.
  auto Later() const {
    return
        [order = order_](const SessionIterator* a, const SessionIterator* b) {
          return Before(order, b->session(), a->session());
        };
  }

  // Takes the first out of the heap, and puts one in.
  SessionIterator* Leave() {
    std::pop_heap(heap_.begin(), heap_.end(), Later());
    SessionIterator* const child = heap_.back();
    heap_.pop_back();
    return child;
  }
  void Enter(SessionIterator* child) {
    if (child->Valid()) {
      heap_.push_back(child);
      std::push_heap(heap_.begin(), heap_.end(), Later());
    } else if (failed_.ok()) {
      // An error in one ends the walk, or the answer would be short.
      failed_ = child->status();
    }
  }
  const Order order_;
  const SessionIterators children_;
  bool walkable_ = true;
  int dearness_ = 0;
  // Of a walkable one: those that are not at their end, the first on top.
  std::vector<SessionIterator*> heap_;
  absl::Status failed_;
};

// What can't be walked.
class ProbedIterator : public SessionIterator {
 public:
  bool walkable() const final { return false; }
  bool Valid() const final { return false; }
  SessionNumber session() const final { return SessionNumber(); }
  void Next() final {}
  void Seek(SessionNumber) final {}
  double density() const final {
    return std::numeric_limits<double>::infinity();
  }
};

class NotIterator final : public ProbedIterator {
 public:
  explicit NotIterator(std::unique_ptr<SessionIterator> child)
      : child_(std::move(child)) {}

  absl::Status Probe(SessionNumber session, RunSet* runs) override {
    RunSet of_child;
    RETURN_IF_ERROR(child_->Probe(session, &of_child));
    *runs = Subtract(EveryRun(), of_child);
    return absl::OkStatus();
  }
  int dearness() const override { return child_->dearness(); }
  absl::Status status() const override { return child_->status(); }

 private:
  const std::unique_ptr<SessionIterator> child_;
};

class PredicateIterator final : public ProbedIterator {
 public:
  explicit PredicateIterator(SessionPredicate predicate)
      : predicate_(std::move(predicate)) {}

  absl::Status Probe(SessionNumber session, RunSet* runs) override {
    ASSIGN_OR_RETURN(const bool in, predicate_(session));
    *runs = in ? EveryRun() : RunSet();
    return absl::OkStatus();
  }
  int dearness() const override { return 1; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  const SessionPredicate predicate_;
};

class EmptyIterator final : public SessionIterator {
 public:
  absl::Status Probe(SessionNumber, RunSet* runs) override {
    *runs = RunSet();
    return absl::OkStatus();
  }
  absl::Status status() const override { return absl::OkStatus(); }
  bool Valid() const override { return false; }
  SessionNumber session() const override { return SessionNumber(); }
  void Next() override {}
  void Seek(SessionNumber) override {}
  double density() const override { return 0; }
};

}  // namespace

RunSet EveryRun() { return RunSet(0, std::numeric_limits<uint32_t>::max()); }

std::unique_ptr<SessionIterator> NewPostingIterator(
    std::unique_ptr<PostingCursor> cursor, Order order, QueryCost* cost) {
  return std::make_unique<PostingIterator>(std::move(cursor), order, cost);
}

std::unique_ptr<SessionIterator> NewAndIterator(Order order, QueryCost* cost,
                                                SessionIterators children) {
  return std::make_unique<AndIterator>(order, cost, std::move(children));
}

std::unique_ptr<SessionIterator> NewOrIterator(Order order,
                                               SessionIterators children) {
  return std::make_unique<OrIterator>(order, std::move(children));
}

std::unique_ptr<SessionIterator> NewNotIterator(
    std::unique_ptr<SessionIterator> child) {
  return std::make_unique<NotIterator>(std::move(child));
}

std::unique_ptr<SessionIterator> NewPredicateIterator(
    SessionPredicate predicate) {
  return std::make_unique<PredicateIterator>(std::move(predicate));
}

std::unique_ptr<SessionIterator> NewEmptyIterator() {
  return std::make_unique<EmptyIterator>();
}

}  // namespace diptych::indexer
