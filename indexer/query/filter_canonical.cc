#include "indexer/query/filter_canonical.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/casts.h"
#include "absl/strings/str_cat.h"
#include "indexer/query/filter.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;
using Node = std::unique_ptr<FilterNode>;

Node Leaf(Kind kind, uint32_t offset) {
  auto node = std::make_unique<FilterNode>();
  node->kind = kind;
  node->offset = offset;
  return node;
}

// The same for terms that say the same, and for no others: what has no fixed
// length comes with it.
std::string Identity(const FilterNode& node) {
  std::string text = absl::StrCat(
      static_cast<int>(node.kind), ",", static_cast<int>(node.comparison), ",",
      node.as_time, ",", absl::bit_cast<uint64_t>(node.number), ",",
      node.time_us, ",", static_cast<int>(node.state), ",",
      static_cast<int>(node.open_state), ",", node.key.size(), ":", node.key,
      node.value.size(), ":", node.value,
      node.kind == Kind::kSession ? node.session.ToString() : "");
  for (const auto& child : node.children) {
    const std::string of_child = Identity(*child);
    absl::StrAppend(&text, "(", of_child.size(), ":", of_child, ")");
  }
  return text;
}

// The first and the last start time, in microseconds, that satisfy a term.
struct Interval {
  int64_t first = std::numeric_limits<int64_t>::min();
  int64_t last = std::numeric_limits<int64_t>::max();
  bool empty = false;
};

void Narrow(Comparison comparison, int64_t time_us, Interval* interval) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (comparison == Comparison::kEqual ||
      comparison == Comparison::kLessOrEqual) {
    interval->last = std::min(interval->last, time_us);
  }
  if (comparison == Comparison::kEqual ||
      comparison == Comparison::kGreaterOrEqual) {
    interval->first = std::max(interval->first, time_us);
  }
  if (comparison == Comparison::kLess) {
    if (time_us == kMin) interval->empty = true;
    if (time_us != kMin) interval->last = std::min(interval->last, time_us - 1);
  }
  if (comparison == Comparison::kGreater) {
    if (time_us == kMax) interval->empty = true;
    if (time_us != kMax) {
      interval->first = std::max(interval->first, time_us + 1);
    }
  }
}

// Terms of one field of the session that no session satisfies together.
bool Contradict(const std::vector<Node>& terms, Kind kind) {
  Interval interval;
  for (const Node& term : terms) {
    if (term->kind == kind) {
      Narrow(term->comparison, term->time_us, &interval);
    }
  }
  return interval.empty || interval.last < interval.first;
}

Node Negated(Node child, uint32_t offset) {
  if (child->kind == Kind::kAll) return Leaf(Kind::kNone, offset);
  if (child->kind == Kind::kNone) return Leaf(Kind::kAll, offset);
  if (child->kind == Kind::kNot) return std::move(child->children.front());
  Node node = Leaf(Kind::kNot, offset);
  node->children.push_back(std::move(child));
  return node;
}

void AddFlat(Kind kind, Node child, std::vector<Node>* out) {
  if (child->kind != kind) {
    out->push_back(std::move(child));
    return;
  }
  for (Node& grandchild : child->children) {
    out->push_back(std::move(grandchild));
  }
}

// AND and OR are each other's mirror: what ends the one leaves the other as it
// is.
Node Joined(const FilterNode& filter) {
  const bool is_and = filter.kind == Kind::kAnd;
  const Kind ends = is_and ? Kind::kNone : Kind::kAll;
  const Kind neutral = is_and ? Kind::kAll : Kind::kNone;
  std::vector<Node> flat;
  for (const auto& child : filter.children) {
    AddFlat(filter.kind, Canonical(*child), &flat);
  }
  std::vector<Node> kept;
  std::set<std::string> seen;
  for (Node& child : flat) {
    if (child->kind == ends) return Leaf(ends, filter.offset);
    if (child->kind == neutral) continue;
    if (seen.insert(Identity(*child)).second) kept.push_back(std::move(child));
  }
  for (const Node& child : kept) {
    // A term beside its own negation: none, or all.
    if (child->kind == Kind::kNot &&
        seen.contains(Identity(*child->children.front()))) {
      return Leaf(ends, filter.offset);
    }
  }
  if (kept.empty()) return Leaf(neutral, filter.offset);
  if (is_and) {
    for (const Kind kind :
         {Kind::kStartTime, Kind::kEndTime, Kind::kDuration}) {
      if (Contradict(kept, kind)) return Leaf(Kind::kNone, filter.offset);
    }
  }
  if (kept.size() == 1) return std::move(kept.front());
  Node node = Leaf(filter.kind, filter.offset);
  node->children = std::move(kept);
  return node;
}

}  // namespace

Node Canonical(const FilterNode& filter) {
  switch (filter.kind) {
    case Kind::kAnd:
    case Kind::kOr:
      return Joined(filter);
    case Kind::kNot:
      return Negated(Canonical(*filter.children.front()), filter.offset);
    default:
      break;
  }
  Node leaf = Leaf(filter.kind, filter.offset);
  leaf->key = filter.key;
  leaf->value = filter.value;
  leaf->comparison = filter.comparison;
  leaf->as_time = filter.as_time;
  leaf->number = filter.number;
  leaf->time_us = filter.time_us;
  leaf->state = filter.state;
  leaf->open_state = filter.open_state;
  leaf->session = filter.session;
  return leaf;
}

}  // namespace diptych::indexer
