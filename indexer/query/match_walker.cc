#include "indexer/query/match_walker.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/filter.h"
#include "indexer/query/filter_canonical.h"
#include "indexer/query/filter_values.h"
#include "indexer/query/past_sessions.h"
#include "indexer/query/planner.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;

bool AsksFor(Kind kind, const FilterNode& filter) {
  return filter.kind == kind ||
         std::any_of(filter.children.begin(), filter.children.end(),
                     [&](const auto& child) { return AsksFor(kind, *child); });
}

}  // namespace

MatchWalker::MatchWalker(const IndexView* view,
                         std::unique_ptr<FilterNode> filter, Options options)
    : filter_(std::move(filter)),
      needs_{.end = AsksFor(Kind::kEndTime, *filter_) ||
                    AsksFor(Kind::kDuration, *filter_),
             .state = AsksFor(Kind::kState, *filter_)},
      options_(std::move(options)),
      cost_(options_.max_cost, options_.cancelled),
      past_cost_(options_.max_cost, options_.cancelled),
      rows_(view, &cost_) {}

absl::StatusOr<std::unique_ptr<MatchWalker>> MatchWalker::Create(
    const IndexView* view, const FilterNode& filter, Options options) {
  auto walker = absl::WrapUnique(
      new MatchWalker(view, Canonical(filter), std::move(options)));
  const Options& asked = walker->options_;
  PlanContext context;
  context.view = view;
  context.cost = &walker->cost_;
  context.rows = &walker->rows_;
  context.order = asked.order;
  if (AsksFor(Kind::kStartTime, *walker->filter_)) {
    ASSIGN_OR_RETURN(const stored::v1::IndexState state, view->State());
    context.max_displacement_s = state.max_displacement_s();
  }
  ASSIGN_OR_RETURN(SessionBounds bounds, BoundsOf(*walker->filter_, context));
  if (asked.from.has_value()) {
    SessionBounds rest;
    (asked.order == Order::kNewestFirst ? rest.upper : rest.lower) =
        *asked.from;
    bounds.Intersect(rest);
  }
  ASSIGN_OR_RETURN(walker->root_,
                   PlanFilter(*walker->filter_, context, bounds));
  if (asked.past != nullptr) {
    for (const SessionNumber number : asked.past->numbers()) {
      if (number < bounds.lower || bounds.upper < number) continue;
      walker->past_.push_back(number);
    }
    if (asked.order == Order::kNewestFirst) {
      std::reverse(walker->past_.begin(), walker->past_.end());
    }
  }
  return walker;
}

std::optional<SessionNumber> MatchWalker::NextPast() const {
  if (next_past_ == past_.size()) return std::nullopt;
  return past_[next_past_];
}

absl::StatusOr<bool> MatchWalker::Spent(SessionNumber at, QueryCost* cost) {
  if (!cost->Spent()) return false;
  if (cost->was_cancelled()) {
    return absl::CancelledError("the caller has gone");
  }
  // Or a list would never get past a place that is dear to reach.
  if (!looked_at_any_) return false;
  stopped_at_ = at;
  return true;
}

absl::Status MatchWalker::MatchPast() {
  match_.past = nullptr;
  match_.runs = RunSet();
  ASSIGN_OR_RETURN(const std::shared_ptr<PastSession> past,
                   options_.past->At(match_.session, needs_, &past_cost_));
  if (past == nullptr) return absl::OkStatus();
  const auto matching = [&](const PastSession& session) {
    return MatchingRuns(*filter_, session.row, session.tags, session.runs);
  };
  match_.runs = matching(*past);
  if (past->if_closed != nullptr) {
    // One that is no match either way needn't be known any better.
    if (match_.runs.empty() && matching(*past->if_closed).empty()) {
      return absl::OkStatus();
    }
    return PastSessions::ForgottenState();
  }
  if (options_.shows_rows && !needs_.end && !match_.runs.empty()) {
    RETURN_IF_ERROR(options_.past->AddEnd(past.get(), &past_cost_));
  }
  match_.past = past;
  return absl::OkStatus();
}

absl::StatusOr<const Match*> MatchWalker::Next() {
  if (pending_step_) root_->Next();
  pending_step_ = false;
  while (!stopped_at_.has_value()) {
    const std::optional<SessionNumber> changed = NextPast();
    if (!root_->Valid()) {
      RETURN_IF_ERROR(root_->status());
      if (!changed.has_value()) break;
    }
    if (changed.has_value() &&
        (!root_->Valid() ||
         !Before(options_.order, root_->session(), *changed))) {
      ASSIGN_OR_RETURN(const bool spent, Spent(*changed, &past_cost_));
      if (spent) break;
      // The lists tell of it as it is now.
      if (root_->Valid() && root_->session() == *changed) root_->Next();
      ++next_past_;
      looked_at_any_ = true;
      match_.session = *changed;
      RETURN_IF_ERROR(MatchPast());
      if (!match_.runs.empty()) return &match_;
      continue;
    }
    match_.session = root_->session();
    ASSIGN_OR_RETURN(const bool spent, Spent(match_.session, &cost_));
    if (spent) break;
    looked_at_any_ = true;
    match_.past = nullptr;
    RETURN_IF_ERROR(root_->Probe(match_.session, &match_.runs));
    if (!match_.runs.empty()) {
      pending_step_ = true;
      return &match_;
    }
    root_->Next();
  }
  return nullptr;
}

}  // namespace diptych::indexer
