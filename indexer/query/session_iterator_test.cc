#include "indexer/query/session_iterator.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "indexer/query/query_cost.h"
#include "indexer/store/posting_cursor.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

using Postings = std::map<SessionNumber, RunSet>;

// A list in memory; fails at its `fail_at`th entry.
class FakeCursor final : public PostingCursor {
 public:
  FakeCursor(const Postings& postings, Order order, size_t fail_at)
      : entries_(postings.begin(), postings.end()),
        order_(order),
        fail_at_(fail_at) {
    if (order == Order::kNewestFirst) {
      std::reverse(entries_.begin(), entries_.end());
    }
  }
  bool Valid() const override { return status().ok() && at_ < entries_.size(); }
  SessionNumber session() const override { return entries_[at_].first; }
  const RunSet& runs() override { return entries_[at_].second; }
  void Next() override {
    ++at_;
    ++cost_;
  }
  void Seek(SessionNumber target) override {
    while (Valid() && Before(order_, session(), target)) Next();
  }
  absl::Status status() const override {
    return at_ < fail_at_ ? absl::OkStatus() : absl::DataLossError("broken");
  }
  double density() const override {
    return static_cast<double>(entries_.size());
  }
  uint64_t cost() const override { return cost_; }

 private:
  std::vector<std::pair<SessionNumber, RunSet>> entries_;
  const Order order_;
  const size_t fail_at_;
  size_t at_ = 0;
  uint64_t cost_ = 0;
};

std::unique_ptr<SessionIterator> List(const Postings& postings, Order order,
                                      QueryCost* cost,
                                      size_t fail_at = SIZE_MAX) {
  return NewPostingIterator(
      std::make_unique<FakeCursor>(postings, order, fail_at), order, cost);
}

SessionIterators Both(std::unique_ptr<SessionIterator> a,
                      std::unique_ptr<SessionIterator> b) {
  SessionIterators both;
  both.push_back(std::move(a));
  both.push_back(std::move(b));
  return both;
}

absl::StatusOr<Postings> Walk(SessionIterator* root, Order order) {
  Postings found;
  for (; root->Valid(); root->Next()) {
    RunSet runs;
    const absl::Status probed = root->Probe(root->session(), &runs);
    if (!probed.ok()) return probed;
    if (runs.empty()) continue;
    if (!found.empty()) {
      const SessionNumber last = order == Order::kNewestFirst
                                     ? found.begin()->first
                                     : found.rbegin()->first;
      EXPECT_TRUE(Before(order, last, root->session()));
    }
    found[root->session()] = runs;
  }
  if (!root->status().ok()) return root->status();
  return found;
}

// A random tree over random lists, as sets and as iterators.
class RandomTree {
 public:
  RandomTree(uint32_t seed, Order order, QueryCost* cost)
      : random_(seed), order_(order), cost_(cost) {
    for (uint32_t second = 0; second < 60; ++second) {
      if (Pick(4) == 0) continue;
      all_[SessionNumber(second, 0)] = RunSet(0, Pick(5));
    }
  }

  const Postings& all() const { return all_; }

  std::pair<Postings, std::unique_ptr<SessionIterator>> Make(int depth) {
    const uint32_t kind = depth == 0 ? 0 : Pick(6);
    if (kind <= 1) {
      Postings postings;
      const uint32_t rarity = 1 + Pick(6);
      for (const auto& [session, runs] : all_) {
        if (Pick(rarity) != 0) continue;
        RunSet some;
        for (uint32_t run = 0; run < runs.size(); ++run) {
          if (Pick(2) == 0) some.Append(run, run);
        }
        if (!some.empty()) postings[session] = some;
      }
      auto list = List(postings, order_, cost_);
      return {std::move(postings), std::move(list)};
    }
    if (kind == 2) {
      auto [set, child] = Make(depth - 1);
      Postings rest;
      for (const auto& [session, runs] : all_) {
        const auto at = set.find(session);
        const RunSet left = at == set.end() ? runs : Subtract(runs, at->second);
        if (!left.empty()) rest[session] = left;
      }
      return {std::move(rest), NewNotIterator(std::move(child))};
    }
    if (kind == 3) {
      const uint64_t bit = Pick(3);
      const auto in = [bit](SessionNumber session) -> absl::StatusOr<bool> {
        return session.second() % 3 == bit;
      };
      Postings some;
      for (const auto& [session, runs] : all_) {
        if (*in(session)) some[session] = runs;
      }
      return {std::move(some), NewPredicateIterator(in)};
    }
    auto [set_a, a] = Make(depth - 1);
    auto [set_b, b] = Make(depth - 1);
    Postings set;
    for (const auto& [session, runs] : all_) {
      const RunSet& of_a = set_a[session];
      const RunSet& of_b = set_b[session];
      const RunSet both = kind == 4 ? Intersect(of_a, of_b) : Unite(of_a, of_b);
      if (!both.empty()) set[session] = both;
    }
    auto children = Both(std::move(a), std::move(b));
    auto joined = kind == 4 ? NewAndIterator(order_, cost_, std::move(children))
                            : NewOrIterator(order_, std::move(children));
    return {std::move(set), std::move(joined)};
  }

 private:
  uint32_t Pick(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  std::mt19937 random_;
  const Order order_;
  QueryCost* const cost_;
  Postings all_;
};

TEST(SessionIteratorTest, TreesAreSets) {
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    const Order order =
        seed % 2 == 0 ? Order::kNewestFirst : Order::kOldestFirst;
    QueryCost cost;
    RandomTree tree(seed, order, &cost);
    auto [expected, root] = tree.Make(4);
    if (!root->walkable()) {
      root = NewAndIterator(
          order, &cost, Both(List(tree.all(), order, &cost), std::move(root)));
    }
    const auto found = Walk(root.get(), order);
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(*found, expected) << "seed " << seed;
  }
}

TEST(SessionIteratorTest, AnErrorIsNeverAShortAnswer) {
  Postings postings;
  for (uint32_t second = 0; second < 20; ++second) {
    postings[SessionNumber(second, 0)] = RunSet(0, 0);
  }
  const Order order = Order::kOldestFirst;
  for (const size_t fail_at : {0u, 5u, 19u}) {
    QueryCost cost;
    const auto fails = [&] { return List(postings, order, &cost, fail_at); };
    const auto works = [&] { return List(postings, order, &cost); };
    std::vector<std::unique_ptr<SessionIterator>> roots;
    roots.push_back(fails());
    roots.push_back(NewAndIterator(order, &cost, Both(fails(), works())));
    roots.push_back(NewOrIterator(order, Both(works(), fails())));
    roots.push_back(
        NewAndIterator(order, &cost, Both(works(), NewNotIterator(fails()))));
    for (const auto& root : roots) {
      EXPECT_TRUE(absl::IsDataLoss(Walk(root.get(), order).status()));
    }
  }
}

TEST(SessionIteratorTest, CostEndsAWalkThatFindsNothing) {
  Postings even;
  Postings odd;
  for (uint32_t second = 0; second < 100'000; ++second) {
    (second % 2 == 0 ? even : odd)[SessionNumber(second, 0)] = RunSet(0, 0);
  }
  const Order order = Order::kOldestFirst;
  QueryCost cost(1000);
  const auto root = NewAndIterator(
      order, &cost, Both(List(even, order, &cost), List(odd, order, &cost)));
  ASSERT_TRUE(root->Valid());
  EXPECT_TRUE(cost.Spent());
  EXPECT_LT(root->session().second(), 2000u);
  RunSet runs;
  ASSERT_TRUE(root->Probe(root->session(), &runs).ok());
  EXPECT_TRUE(runs.empty());
}

TEST(SessionIteratorTest, NobodyWaitsForACancelledQuery) {
  bool gone = false;
  QueryCost cost(1'000'000, [&] { return gone; });
  EXPECT_FALSE(cost.Spent());
  gone = true;
  for (int i = 0; i < 10'000 && !cost.Spent(); ++i) {
  }
  EXPECT_TRUE(cost.Spent());
  EXPECT_TRUE(cost.was_cancelled());
}

}  // namespace
}  // namespace diptych::indexer
