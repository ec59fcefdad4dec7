#include "indexer/query/match_walker.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/query/api_rows.h"
#include "indexer/query/doc_iterator.h"
#include "indexer/query/filter.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;
using stored::v1::SessionRow;

template <typename T>
bool Compare(T left, Comparison comparison, T right) {
  switch (comparison) {
    case Comparison::kEqual:
      return left == right;
    case Comparison::kLess:
      return left < right;
    case Comparison::kLessOrEqual:
      return left <= right;
    case Comparison::kGreater:
      return left > right;
    case Comparison::kGreaterOrEqual:
      return left >= right;
  }
  return false;
}

// Later starts have smaller documents.
DocBounds StartBounds(Comparison comparison, int64_t time_us) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  DocBounds bounds;
  switch (comparison) {
    case Comparison::kEqual:
      bounds.lower = DocId::SmallestAt(time_us);
      bounds.upper = DocId::LargestAt(time_us);
      break;
    case Comparison::kLess:
      if (time_us != kMin) bounds.lower = DocId::SmallestAt(time_us - 1);
      break;
    case Comparison::kLessOrEqual:
      bounds.lower = DocId::SmallestAt(time_us);
      break;
    case Comparison::kGreater:
      if (time_us != kMax) bounds.upper = DocId::LargestAt(time_us + 1);
      break;
    case Comparison::kGreaterOrEqual:
      bounds.upper = DocId::LargestAt(time_us);
      break;
  }
  return bounds;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MatchWalker>> MatchWalker::Create(
    const IndexView* view, const FilterNode& filter, Options options) {
  auto walker = absl::WrapUnique(new MatchWalker(view, std::move(options)));
  RETURN_IF_ERROR(walker->NarrowBounds(filter));
  ASSIGN_OR_RETURN(walker->root_, walker->Plan(filter));
  return walker;
}

// Every match satisfies the terms that the filter's top joins by AND, so those
// on time and session bound the whole walk.
absl::Status MatchWalker::NarrowBounds(const FilterNode& node) {
  switch (node.kind) {
    case Kind::kAnd:
      for (const auto& child : node.children) {
        RETURN_IF_ERROR(NarrowBounds(*child));
      }
      return absl::OkStatus();
    case Kind::kStartTime:
      bounds_.Intersect(StartBounds(node.comparison, node.time_us));
      return absl::OkStatus();
    case Kind::kSession: {
      ASSIGN_OR_RETURN(const auto row, view_->Session(node.session));
      DocBounds bounds;
      if (row.has_value()) {
        const DocId doc(row->start_time_us(), node.session, 0);
        bounds.lower = doc.SmallestOfSession();
        bounds.upper = doc.LargestOfSession();
      } else {
        bounds.lower = DocId::Largest();
        bounds.upper = DocId();
      }
      bounds_.Intersect(bounds);
      return absl::OkStatus();
    }
    default:
      return absl::OkStatus();
  }
}

absl::StatusOr<std::unique_ptr<DocIterator>> MatchWalker::Posting(
    absl::string_view token, const FilterNode& node) {
  if (++postings_ > limits::kMaxQueryPostings) {
    return FilterError(absl::StatusCode::kResourceExhausted, node.offset,
                       "the filter compares with too many values at once: "
                       "narrow it");
  }
  return NewPostingIterator(view_, token, options_.order, bounds_,
                            options_.before_position);
}

absl::StatusOr<std::unique_ptr<DocIterator>> MatchWalker::All(
    const FilterNode& node) {
  return Posting(UniversalToken(view_->keys()), node);
}

absl::StatusOr<MatchWalker::Iterators> MatchWalker::PlanChildren(
    const FilterNode& node) {
  Iterators children;
  for (const auto& child : node.children) {
    ASSIGN_OR_RETURN(std::unique_ptr<DocIterator> planned, Plan(*child));
    children.push_back(std::move(planned));
  }
  return children;
}

// Tokens have no order: the dictionary says which values compare as asked.
absl::StatusOr<std::unique_ptr<DocIterator>> MatchWalker::PlanComparison(
    const FilterNode& node) {
  ASSIGN_OR_RETURN(
      const std::vector<std::string> values,
      view_->DictionaryValues(node.key, limits::kMaxDictionaryValues + 1));
  if (values.size() > limits::kMaxDictionaryValues) {
    return FilterError(
        absl::StatusCode::kResourceExhausted, node.offset,
        absl::StrCat("the key has more than ", limits::kMaxDictionaryValues,
                     " values, too many to compare: narrow it with ="));
  }
  Iterators postings;
  for (const std::string& value : values) {
    double number = 0;
    if (!ParseNumber(value, &number) ||
        !Compare(number, node.comparison, node.number)) {
      continue;
    }
    ASSIGN_OR_RETURN(std::unique_ptr<DocIterator> posting,
                     Posting(view_->keys().Token(node.key, value), node));
    postings.push_back(std::move(posting));
  }
  if (postings.empty()) return NewEmptyIterator();
  return NewOrIterator(options_.order, std::move(postings));
}

absl::StatusOr<std::unique_ptr<DocIterator>> MatchWalker::Plan(
    const FilterNode& node) {
  switch (node.kind) {
    case Kind::kAll:
      return All(node);
    case Kind::kAnd: {
      ASSIGN_OR_RETURN(Iterators children, PlanChildren(node));
      return NewAndIterator(options_.order, std::move(children));
    }
    case Kind::kOr: {
      ASSIGN_OR_RETURN(Iterators children, PlanChildren(node));
      return NewOrIterator(options_.order, std::move(children));
    }
    case Kind::kNot: {
      ASSIGN_OR_RETURN(std::unique_ptr<DocIterator> child,
                       Plan(*node.children.front()));
      ASSIGN_OR_RETURN(std::unique_ptr<DocIterator> all, All(node));
      return NewNotIterator(std::move(all), std::move(child));
    }
    case Kind::kTagEquals:
      return Posting(view_->keys().Token(node.key, node.value), node);
    case Kind::kTagPresent:
      return Posting(view_->keys().Token(node.key, ""), node);
    case Kind::kTagCompares:
      return PlanComparison(node);
    case Kind::kStartTime:
    case Kind::kEndTime:
    case Kind::kDuration:
    case Kind::kState:
    case Kind::kSession: {
      ASSIGN_OR_RETURN(std::unique_ptr<DocIterator> all, All(node));
      return NewPredicateIterator(
          std::move(all),
          [this, &node](const DocId& doc) { return SatisfiesRow(node, doc); });
    }
  }
  return absl::InternalError("a filter term without a plan");
}

absl::StatusOr<bool> MatchWalker::SatisfiesRow(const FilterNode& node,
                                               const DocId& doc) {
  // What the document itself tells needs no row.
  if (node.kind == Kind::kStartTime) {
    return Compare(doc.start_time_us(), node.comparison, node.time_us);
  }
  if (node.kind == Kind::kSession) return doc.session() == node.session;
  ASSIGN_OR_RETURN(const SessionRow* const row, Row(doc.session()));
  switch (node.kind) {
    case Kind::kEndTime:
      return Compare(EndTime_us(*row), node.comparison, node.time_us);
    case Kind::kDuration:
      return Compare<int64_t>(row->end_us(), node.comparison, node.time_us);
    case Kind::kState:
      return row->closed() == node.state &&
             (node.open_state == stored::v1::SESSION_STATE_UNSPECIFIED ||
              node.open_state == row->state());
    default:
      return absl::InternalError("a filter term that no row answers");
  }
}

absl::StatusOr<const SessionRow*> MatchWalker::Row(const base::Uuid& session) {
  if (!row_.has_value() || row_session_ != session) {
    ASSIGN_OR_RETURN(row_, view_->Session(session));
    row_session_ = session;
  }
  if (!row_.has_value()) {
    return base::IntegrityError(
        "the index has a posting of a session without its row; run `diptych "
        "index rebuild`");
  }
  return &*row_;
}

absl::StatusOr<std::optional<DocId>> MatchWalker::Next() {
  if (pending_step_) root_->Next();
  pending_step_ = false;
  for (; root_->Valid(); root_->Next()) {
    if (steps_++ % limits::kQueryStepsPerCheck == 0 && options_.cancelled &&
        options_.cancelled()) {
      return absl::CancelledError("the caller has gone");
    }
    ASSIGN_OR_RETURN(const bool matches, root_->Matches());
    if (!matches) continue;
    pending_step_ = true;
    return root_->doc();
  }
  RETURN_IF_ERROR(root_->status());
  return std::nullopt;
}

void MatchWalker::SkipSession(const DocId& doc) {
  const DocId last = options_.order == Order::kNewestFirst
                         ? doc.LargestOfSession()
                         : doc.SmallestOfSession();
  root_->Seek(last);
  // Where the very last one is there, the next step leaves it.
  pending_step_ = root_->Valid() && root_->doc() == last;
}

void MatchWalker::GoToSession(const DocId& doc) {
  root_->Seek(options_.order == Order::kNewestFirst ? doc.SmallestOfSession()
                                                    : doc.LargestOfSession());
  pending_step_ = false;
}

}  // namespace diptych::indexer
