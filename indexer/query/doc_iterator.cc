#include "indexer/query/doc_iterator.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"

namespace diptych::indexer {
namespace {

using Children = std::vector<std::unique_ptr<DocIterator>>;

class PostingIterator final : public DocIterator {
 public:
  PostingIterator(const IndexView* view, absl::string_view token, Order order,
                  const DocBounds& bounds, log::Position before_position)
      : token_(token),
        order_(order),
        before_position_(before_position),
        rows_(view->Postings(token, bounds.lower, bounds.upper)) {
    SeekRows(order == Order::kNewestFirst ? bounds.lower : bounds.upper);
    Settle();
  }

  bool Valid() const override { return valid_; }
  const DocId& doc() const override { return doc_; }
  void Next() override {
    Step();
    Settle();
  }
  void Seek(const DocId& target) override {
    if (!valid_ || !Before(order_, doc_, target)) return;
    SeekRows(target);
    Settle();
  }
  absl::StatusOr<bool> Matches() override { return true; }
  absl::Status status() const override {
    RETURN_IF_ERROR(status_);
    return rows_->status();
  }

 private:
  void SeekRows(const DocId& target) {
    const std::string key = PostingKey(token_, target);
    if (order_ == Order::kNewestFirst) {
      rows_->Seek(key);
    } else {
      rows_->SeekForPrev(key);
    }
  }

  void Step() {
    if (order_ == Order::kNewestFirst) {
      rows_->Next();
    } else {
      rows_->Prev();
    }
  }

  // Reads the row; passes over those that came after the answer's moment.
  void Settle() {
    for (; rows_->Valid(); Step()) {
      uint64_t position = 0;
      if (rows_->key().size() != token_.size() + DocId::kSize ||
          !DecodePosition(rows_->value(), &position)) {
        status_ = base::IntegrityError(
            "a posting of the index is unreadable; run `diptych index "
            "rebuild`");
        break;
      }
      if (position >= before_position_) continue;
      doc_ = DocId::FromBytes(rows_->key().substr(token_.size()));
      valid_ = true;
      return;
    }
    valid_ = false;
  }

  const std::string token_;
  const Order order_;
  const log::Position before_position_;
  const std::unique_ptr<IndexIterator> rows_;
  bool valid_ = false;
  DocId doc_;
  absl::Status status_;
};

class AndIterator final : public DocIterator {
 public:
  AndIterator(Order order, Children children) : order_(order) {
    for (auto& child : children) {
      (child->approximates_all() ? checked_ : walked_)
          .push_back(std::move(child));
    }
    // Somebody has to lead.
    if (walked_.empty()) {
      walked_.push_back(std::move(checked_.back()));
      checked_.pop_back();
      all_ = true;
    }
    Align();
  }

  bool Valid() const override { return valid_; }
  const DocId& doc() const override { return walked_.front()->doc(); }
  void Next() override {
    walked_.front()->Next();
    Align();
  }
  void Seek(const DocId& target) override {
    if (!valid_ || !Before(order_, doc(), target)) return;
    walked_.front()->Seek(target);
    Align();
  }
  absl::StatusOr<bool> Matches() override {
    for (const auto& child : walked_) {
      ASSIGN_OR_RETURN(const bool in, child->Matches());
      if (!in) return false;
    }
    for (const auto& child : checked_) {
      ASSIGN_OR_RETURN(const bool in, child->Contains(doc()));
      if (!in) return false;
    }
    return true;
  }
  absl::StatusOr<bool> Contains(const DocId& wanted) override {
    if (!all_) return DocIterator::Contains(wanted);
    // Every child is a check: no need to walk at all.
    for (const Children* children : {&walked_, &checked_}) {
      for (const auto& child : *children) {
        ASSIGN_OR_RETURN(const bool in, child->Contains(wanted));
        if (!in) return false;
      }
    }
    return true;
  }
  bool approximates_all() const override { return all_; }
  absl::Status status() const override {
    for (const Children* children : {&walked_, &checked_}) {
      for (const auto& child : *children) RETURN_IF_ERROR(child->status());
    }
    return absl::OkStatus();
  }

 private:
  // Leapfrog: each child goes to where the furthest stands until all agree.
  void Align() {
    size_t agreed = 0;
    size_t i = 0;
    std::optional<DocId> target;
    while (agreed < walked_.size()) {
      DocIterator& child = *walked_[i];
      if (target.has_value()) child.Seek(*target);
      if (!child.Valid()) {
        valid_ = false;
        return;
      }
      if (target.has_value() && child.doc() == *target) {
        ++agreed;
      } else {
        target = child.doc();
        agreed = 1;
      }
      i = (i + 1) % walked_.size();
    }
    valid_ = true;
  }

  const Order order_;
  Children walked_;
  Children checked_;
  bool all_ = false;
  bool valid_ = false;
};

class OrIterator final : public DocIterator {
 public:
  OrIterator(Order order, Children children)
      : order_(order), children_(std::move(children)) {
    for (const auto& child : children_) {
      all_ = all_ || child->approximates_all();
    }
    FindFirst();
  }

  bool Valid() const override { return valid_; }
  const DocId& doc() const override { return doc_; }
  void Next() override {
    for (const auto& child : children_) {
      if (child->Valid() && child->doc() == doc_) child->Next();
    }
    FindFirst();
  }
  void Seek(const DocId& target) override {
    for (const auto& child : children_) child->Seek(target);
    FindFirst();
  }
  absl::StatusOr<bool> Matches() override {
    for (const auto& child : children_) {
      if (!child->Valid() || child->doc() != doc_) continue;
      ASSIGN_OR_RETURN(const bool in, child->Matches());
      if (in) return true;
    }
    return false;
  }
  absl::StatusOr<bool> Contains(const DocId& wanted) override {
    for (const auto& child : children_) {
      ASSIGN_OR_RETURN(const bool in, child->Contains(wanted));
      if (in) return true;
    }
    return false;
  }
  bool approximates_all() const override { return all_; }
  absl::Status status() const override {
    for (const auto& child : children_) RETURN_IF_ERROR(child->status());
    return absl::OkStatus();
  }

 private:
  void FindFirst() {
    valid_ = false;
    for (const auto& child : children_) {
      if (!child->Valid()) {
        // An error in one must end the walk, or the answer would be short.
        if (!child->status().ok()) {
          valid_ = false;
          return;
        }
        continue;
      }
      if (!valid_ || Before(order_, child->doc(), doc_)) doc_ = child->doc();
      valid_ = true;
    }
  }

  const Order order_;
  const Children children_;
  bool all_ = false;
  bool valid_ = false;
  DocId doc_;
};

// What NOT and predicates share: they walk everything and check.
class CheckingIterator : public DocIterator {
 public:
  explicit CheckingIterator(std::unique_ptr<DocIterator> all)
      : all_(std::move(all)) {}

  bool Valid() const override { return all_->Valid(); }
  const DocId& doc() const override { return all_->doc(); }
  void Next() override { all_->Next(); }
  void Seek(const DocId& target) override { all_->Seek(target); }
  absl::StatusOr<bool> Matches() override { return Contains(all_->doc()); }
  bool approximates_all() const override { return true; }
  absl::Status status() const override { return all_->status(); }

 private:
  const std::unique_ptr<DocIterator> all_;
};

class NotIterator final : public CheckingIterator {
 public:
  NotIterator(std::unique_ptr<DocIterator> all,
              std::unique_ptr<DocIterator> child)
      : CheckingIterator(std::move(all)), child_(std::move(child)) {}

  absl::StatusOr<bool> Contains(const DocId& wanted) override {
    ASSIGN_OR_RETURN(const bool in, child_->Contains(wanted));
    return !in;
  }
  absl::Status status() const override {
    RETURN_IF_ERROR(child_->status());
    return CheckingIterator::status();
  }

 private:
  const std::unique_ptr<DocIterator> child_;
};

class PredicateIterator final : public CheckingIterator {
 public:
  PredicateIterator(std::unique_ptr<DocIterator> all, DocPredicate predicate)
      : CheckingIterator(std::move(all)), predicate_(std::move(predicate)) {}

  absl::StatusOr<bool> Contains(const DocId& wanted) override {
    return predicate_(wanted);
  }

 private:
  const DocPredicate predicate_;
};

class EmptyIterator final : public DocIterator {
 public:
  bool Valid() const override { return false; }
  const DocId& doc() const override { return doc_; }
  void Next() override {}
  void Seek(const DocId&) override {}
  absl::StatusOr<bool> Matches() override { return false; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  const DocId doc_;
};

}  // namespace

absl::StatusOr<bool> DocIterator::Contains(const DocId& wanted) {
  Seek(wanted);
  if (!Valid()) {
    RETURN_IF_ERROR(status());
    return false;
  }
  if (doc() != wanted) return false;
  return Matches();
}

std::unique_ptr<DocIterator> NewPostingIterator(const IndexView* view,
                                                absl::string_view token,
                                                Order order,
                                                const DocBounds& bounds,
                                                log::Position before_position) {
  if (bounds.empty()) return NewEmptyIterator();
  return std::make_unique<PostingIterator>(view, token, order, bounds,
                                           before_position);
}

std::unique_ptr<DocIterator> NewAndIterator(Order order, Children children) {
  return std::make_unique<AndIterator>(order, std::move(children));
}

std::unique_ptr<DocIterator> NewOrIterator(Order order, Children children) {
  return std::make_unique<OrIterator>(order, std::move(children));
}

std::unique_ptr<DocIterator> NewNotIterator(
    std::unique_ptr<DocIterator> all, std::unique_ptr<DocIterator> child) {
  return std::make_unique<NotIterator>(std::move(all), std::move(child));
}

std::unique_ptr<DocIterator> NewPredicateIterator(
    std::unique_ptr<DocIterator> all, DocPredicate predicate) {
  return std::make_unique<PredicateIterator>(std::move(all),
                                             std::move(predicate));
}

std::unique_ptr<DocIterator> NewEmptyIterator() {
  return std::make_unique<EmptyIterator>();
}

}  // namespace diptych::indexer
