#include "indexer/query/planner.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/query/filter.h"
#include "indexer/query/filter_values.h"
#include "indexer/query/query_cost.h"
#include "indexer/query/session_iterator.h"
#include "indexer/store/index_view.h"
#include "indexer/store/posting_cursor.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;
using Iterator = std::unique_ptr<SessionIterator>;

constexpr uint16_t kLastTurn = std::numeric_limits<uint16_t>::max();

SessionBounds Nothing() {
  SessionBounds bounds;
  bounds.lower = SessionNumber::Largest();
  bounds.upper = SessionNumber();
  return bounds;
}

// Whole seconds: what lies beside the term's own microsecond is checked later.
SessionBounds StartBounds(const FilterNode& term, uint32_t max_displacement_s) {
  const uint32_t second = SessionNumber::SecondOf(term.time_us);
  const uint32_t latest =
      second + std::min(max_displacement_s,
                        std::numeric_limits<uint32_t>::max() - second);
  SessionBounds bounds;
  if (term.comparison != Comparison::kGreater &&
      term.comparison != Comparison::kGreaterOrEqual) {
    bounds.upper = SessionNumber(latest, kLastTurn);
  }
  if (term.comparison != Comparison::kLess &&
      term.comparison != Comparison::kLessOrEqual) {
    bounds.lower = SessionNumber(second, 0);
  }
  return bounds;
}

ListedState StateOf(const FilterNode& term) {
  if (term.state == stored::v1::CLOSE_REASON_CLOSED) {
    return ListedState::kClosed;
  }
  if (term.state == stored::v1::CLOSE_REASON_ABANDONED) {
    return ListedState::kAbandoned;
  }
  if (term.open_state == stored::v1::SESSION_STATE_DEGRADED) {
    return ListedState::kDegraded;
  }
  if (term.open_state == stored::v1::SESSION_STATE_RECOVERED) {
    return ListedState::kRecovered;
  }
  return ListedState::kOpen;
}

class Planner {
 public:
  Planner(const PlanContext& context, const SessionBounds& bounds)
      : context_(context), bounds_(bounds) {}

  absl::StatusOr<Iterator> Plan(const FilterNode& node) {
    switch (node.kind) {
      case Kind::kAll:
        return Posting(UniversalList(keys()), node);
      case Kind::kNone:
        return NewEmptyIterator();
      case Kind::kAnd:
        return PlanAnd(node);
      case Kind::kOr: {
        SessionIterators children;
        for (const auto& child : node.children) {
          ASSIGN_OR_RETURN(Iterator planned, Plan(*child));
          children.push_back(std::move(planned));
        }
        return NewOrIterator(context_.order, std::move(children));
      }
      case Kind::kNot: {
        ASSIGN_OR_RETURN(Iterator child, Plan(*node.children.front()));
        return NewNotIterator(std::move(child));
      }
      case Kind::kTagEquals:
        return Posting(ValueList(keys(), node.key, node.value), node);
      case Kind::kTagPresent:
        return Posting(KeyList(keys(), node.key), node);
      case Kind::kTagCompares:
        return PlanComparison(node);
      case Kind::kState:
        return Posting(StateList(keys(), StateOf(node)), node);
      case Kind::kSession:
        return PlanSession(node);
      case Kind::kStartTime:
      case Kind::kEndTime:
      case Kind::kDuration:
        return NewPredicateIterator(
            [this_context = context_, &node](SessionNumber session) {
              return SatisfiesAt(node, session, this_context);
            });
    }
    return absl::InternalError("a filter term without a plan");
  }

  absl::StatusOr<Iterator> Posting(const PostingList& list,
                                   const FilterNode& node) {
    return BoundedPosting(list, node, bounds_);
  }

 private:
  const seal::IndexKeys& keys() const { return context_.view->keys(); }

  static absl::StatusOr<bool> SatisfiesAt(const FilterNode& node,
                                          SessionNumber session,
                                          const PlanContext& context) {
    if (node.kind == Kind::kStartTime) {
      const std::optional<bool> by_number =
          StartSatisfies(node, session, context.max_displacement_s);
      if (by_number.has_value()) return *by_number;
    }
    ASSIGN_OR_RETURN(const stored::v1::SessionRow* const row,
                     context.rows->At(session));
    return SatisfiesRow(node, *row);
  }

  absl::StatusOr<Iterator> BoundedPosting(const PostingList& list,
                                          const FilterNode& node,
                                          const SessionBounds& bounds) {
    if (++postings_ > limits::kMaxQueryPostings) {
      return FilterError(absl::StatusCode::kResourceExhausted, node.offset,
                         "the filter compares with too many values at once: "
                         "narrow it");
    }
    if (bounds.empty()) return NewEmptyIterator();
    return NewPostingIterator(
        NewPostingCursor(&context_.view->snapshot(), list, context_.order,
                         bounds.lower, bounds.upper),
        context_.order, context_.cost);
  }

  // Its runs, wherever it stands in the filter, without walking all others.
  absl::StatusOr<Iterator> PlanSession(const FilterNode& node) {
    ASSIGN_OR_RETURN(const std::optional<SessionNumber> number,
                     context_.view->FindNumber(node.session));
    if (!number.has_value()) return NewEmptyIterator();
    SessionBounds bounds = bounds_;
    bounds.Intersect({*number, *number});
    return BoundedPosting(UniversalList(keys()), node, bounds);
  }

  absl::StatusOr<Iterator> PlanAnd(const FilterNode& node) {
    const FilterNode* first = nullptr;
    const FilterNode* second = nullptr;
    for (const auto& child : node.children) {
      if (child->kind != Kind::kTagEquals) continue;
      if (first == nullptr && child->key == kPairFirstKey) first = child.get();
      if (second == nullptr && child->key == kPairSecondKey) {
        second = child.get();
      }
    }
    const bool paired = first != nullptr && second != nullptr;
    SessionIterators children;
    if (paired) {
      ASSIGN_OR_RETURN(Iterator pair, PlanPair(*first, *second));
      children.push_back(std::move(pair));
    }
    for (const auto& child : node.children) {
      if (paired && (child.get() == first || child.get() == second)) continue;
      ASSIGN_OR_RETURN(Iterator planned, Plan(*child));
      children.push_back(std::move(planned));
    }
    if (children.size() == 1) return std::move(children.front());
    return NewAndIterator(context_.order, context_.cost, std::move(children));
  }

  // A clerk and an item have a list of their own, but for runs with too many
  // such pairs.
  absl::StatusOr<Iterator> PlanPair(const FilterNode& first,
                                    const FilterNode& second) {
    ASSIGN_OR_RETURN(
        Iterator pair,
        Posting(PairList(keys(), first.value, second.value), first));
    ASSIGN_OR_RETURN(Iterator overflow,
                     Posting(PairOverflowList(keys()), first));
    // One that can't be read must not pass for an empty one.
    RETURN_IF_ERROR(overflow->status());
    if (!overflow->Valid()) return pair;
    SessionIterators all_three;
    all_three.push_back(std::move(overflow));
    for (const FilterNode* const term : {&first, &second}) {
      ASSIGN_OR_RETURN(Iterator planned, Plan(*term));
      all_three.push_back(std::move(planned));
    }
    SessionIterators either;
    either.push_back(std::move(pair));
    either.push_back(
        NewAndIterator(context_.order, context_.cost, std::move(all_three)));
    return NewOrIterator(context_.order, std::move(either));
  }

  // Tokens have no order: the dictionary says which values compare as asked.
  absl::StatusOr<Iterator> PlanComparison(const FilterNode& node) {
    ASSIGN_OR_RETURN(const std::vector<std::string> values,
                     context_.view->DictionaryValues(
                         node.key, limits::kMaxDictionaryValues + 1));
    if (values.size() > limits::kMaxDictionaryValues) {
      return FilterError(
          absl::StatusCode::kResourceExhausted, node.offset,
          absl::StrCat("the key has more than ", limits::kMaxDictionaryValues,
                       " values, too many to compare: narrow it with ="));
    }
    SessionIterators postings;
    for (const std::string& value : values) {
      if (!ComparesAs(node, value)) continue;
      ASSIGN_OR_RETURN(Iterator posting,
                       Posting(ValueList(keys(), node.key, value), node));
      postings.push_back(std::move(posting));
    }
    if (postings.empty()) return NewEmptyIterator();
    if (postings.size() == 1) return std::move(postings.front());
    return NewOrIterator(context_.order, std::move(postings));
  }

  const PlanContext context_;
  const SessionBounds bounds_;
  size_t postings_ = 0;
};

}  // namespace

absl::StatusOr<SessionBounds> BoundsOf(const FilterNode& filter,
                                       const PlanContext& context) {
  SessionBounds bounds;
  switch (filter.kind) {
    case Kind::kNone:
      return Nothing();
    case Kind::kAnd:
      for (const auto& child : filter.children) {
        ASSIGN_OR_RETURN(const SessionBounds of_child,
                         BoundsOf(*child, context));
        bounds.Intersect(of_child);
      }
      return bounds;
    case Kind::kStartTime:
      return StartBounds(filter, context.max_displacement_s);
    case Kind::kSession: {
      ASSIGN_OR_RETURN(const std::optional<SessionNumber> number,
                       context.view->FindNumber(filter.session));
      if (!number.has_value()) return Nothing();
      return SessionBounds{*number, *number};
    }
    default:
      return bounds;
  }
}

absl::StatusOr<Iterator> PlanFilter(const FilterNode& filter,
                                    const PlanContext& context,
                                    const SessionBounds& bounds) {
  Planner planner(context, bounds);
  ASSIGN_OR_RETURN(Iterator root, planner.Plan(filter));
  if (root->walkable()) return root;
  // Somebody has to lead, and to say which runs there are at all.
  SessionIterators children;
  ASSIGN_OR_RETURN(
      Iterator all,
      planner.Posting(UniversalList(context.view->keys()), filter));
  children.push_back(std::move(all));
  children.push_back(std::move(root));
  return NewAndIterator(context.order, context.cost, std::move(children));
}

}  // namespace diptych::indexer
