#include "indexer/store/posting_cursor.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/store/family.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/posting_test_data.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

using Model = std::map<SessionNumber, RunSet>;

class PostingCursorTest : public ::testing::Test {
 protected:
  PostingCursorTest() {
    const std::string folder = absl::StrCat(
        ::testing::TempDir(), "/cursor_",
        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder);
    store_ = IndexStore::Open(folder, base::Uuid::Random()).value();
  }

  // What a list holds from now on, in one write, a block at a time.
  void Merge(const PostingList& list, const std::vector<PostingEntry>& change) {
    std::map<std::string, std::vector<PostingEntry>> blocks;
    for (const PostingEntry& entry : change) {
      blocks[PostingBlockKey(list, entry.session.second())].push_back(entry);
    }
    IndexBatch batch;
    for (const auto& [key, entries] : blocks) {
      batch.Merge(Family::kPostings, key, EncodePostingChange(entries));
    }
    ASSERT_TRUE(store_->Write(batch).ok());
  }

  void PutRaw(const std::string& key, const std::string& value) {
    IndexBatch batch;
    batch.Put(Family::kPostings, key, value);
    ASSERT_TRUE(store_->Write(batch).ok());
  }

  std::unique_ptr<PostingCursor> Open(
      const PostingList& list, Order order, SessionNumber lower = {},
      SessionNumber upper = SessionNumber::Largest()) {
    if (snapshot_ == nullptr) snapshot_ = store_->NewSnapshot();
    return NewPostingCursor(snapshot_.get(), list, order, lower, upper);
  }
  void Refresh() { snapshot_ = nullptr; }

  // Lists whose tokens are neighbours.
  static PostingList List(char last, int bucket_bits) {
    return {std::string(15, '\x7f') + last, bucket_bits};
  }

  std::unique_ptr<IndexStore> store_;
  std::unique_ptr<IndexSnapshot> snapshot_;
};

std::vector<PostingEntry> Expected(const Model& model, Order order,
                                   SessionNumber lower, SessionNumber upper) {
  std::vector<PostingEntry> entries;
  for (const auto& [session, runs] : model) {
    if (lower <= session && session <= upper)
      entries.push_back({session, runs});
  }
  if (order == Order::kNewestFirst)
    std::reverse(entries.begin(), entries.end());
  return entries;
}

std::vector<PostingEntry> Rest(PostingCursor* cursor) {
  std::vector<PostingEntry> entries;
  for (; cursor->Valid(); cursor->Next()) {
    entries.push_back({cursor->session(), cursor->runs()});
  }
  EXPECT_TRUE(cursor->status().ok()) << cursor->status();
  return entries;
}

TEST_F(PostingCursorTest, WalksAndSeeksGiveWhatAMapGives) {
  PostingDice dice(1);
  const PostingList list = List('b', 10);
  // Neighbours that a walk must not stray into.
  Merge(List('a', 10), dice.Entries(50, 1 << 24));
  Merge(List('c', 10), dice.Entries(50, 1 << 24));
  Model model;
  for (int round = 0; round < 30; ++round) {
    std::vector<PostingEntry> change;
    // Dense in some places, with gaps of many buckets in others.
    uint64_t second = 1'700'000'000 + dice.Below(100'000);
    for (uint64_t i = dice.Below(400); i > 0; --i) {
      second += dice.OneIn(30) ? dice.Below(60'000) : 1 + dice.Below(40);
      const SessionNumber session(static_cast<uint32_t>(second),
                                  static_cast<uint16_t>(dice.Below(2)));
      change.push_back({session, dice.OneIn(5) ? RunSet() : dice.Runs()});
      if (change.back().runs.empty()) {
        model.erase(session);
      } else {
        model[session] = change.back().runs;
      }
    }
    Merge(list, change);
    if (dice.OneIn(5)) ASSERT_TRUE(store_->Flush().ok());
    Refresh();
    for (const Order order : {Order::kNewestFirst, Order::kOldestFirst}) {
      EXPECT_EQ(Rest(Open(list, order).get()),
                Expected(model, order, {}, SessionNumber::Largest()));
      for (int walk = 0; walk < 20; ++walk) {
        const auto pick = [&] {
          return SessionNumber(
              static_cast<uint32_t>(1'700'000'000 + dice.Below(400'000)),
              static_cast<uint16_t>(dice.Below(2)));
        };
        SessionNumber lower = pick();
        SessionNumber upper = pick();
        if (upper < lower && !dice.OneIn(5)) std::swap(lower, upper);
        const std::vector<PostingEntry> expected =
            Expected(model, order, lower, upper);
        const std::unique_ptr<PostingCursor> cursor =
            Open(list, order, lower, upper);
        size_t at = 0;
        while (cursor->Valid()) {
          ASSERT_LT(at, expected.size());
          ASSERT_EQ(cursor->session(), expected[at].session);
          if (dice.OneIn(2)) ASSERT_EQ(cursor->runs(), expected[at].runs);
          EXPECT_GT(cursor->density(), 0);
          if (dice.OneIn(3)) {
            cursor->Next();
            ++at;
            continue;
          }
          // Anywhere: a little ahead, far ahead, behind.
          SessionNumber target = pick();
          if (dice.OneIn(2)) {
            target = SessionNumber::FromValue(
                expected[at].session.value() + (dice.Below(1 << 24)) -
                (order == Order::kNewestFirst ? 1 << 24 : 0));
          }
          cursor->Seek(target);
          while (at < expected.size() &&
                 Before(order, expected[at].session, target)) {
            ++at;
          }
        }
        EXPECT_EQ(at, expected.size());
        EXPECT_TRUE(cursor->status().ok());
        EXPECT_EQ(cursor->density(), 0);
      }
    }
  }
}

TEST_F(PostingCursorTest, NewerBlocksHaveSmallerKeys) {
  const PostingList list = List('b', 10);
  const std::string older = PostingBlockKey(list, 5000);
  EXPECT_EQ(PostingBlockKey(list, 4096), older);
  EXPECT_EQ(FirstSecondOf(list, older), 4096u);
  for (const uint32_t newer : {5120u, 1'700'000'000u, ~0u}) {
    EXPECT_LT(PostingBlockKey(list, newer), older);
    EXPECT_EQ(FirstSecondOf(list, PostingBlockKey(list, newer)),
              newer / 1024 * 1024);
  }
}

TEST_F(PostingCursorTest, AListThatIsNotThereIsEmpty) {
  for (const Order order : {Order::kNewestFirst, Order::kOldestFirst}) {
    const std::unique_ptr<PostingCursor> cursor = Open(List('x', 21), order);
    EXPECT_FALSE(cursor->Valid());
    EXPECT_TRUE(cursor->status().ok());
    EXPECT_EQ(cursor->cost(), 0u);
  }
}

TEST_F(PostingCursorTest, EmptyBlocksArePassedOver) {
  const PostingList list = List('b', 10);
  const RunSet runs(0, 0);
  Merge(list, {{SessionNumber(1000, 0), runs},
               {SessionNumber(5000, 0), runs},
               {SessionNumber(9000, 0), runs}});
  Merge(list, {{SessionNumber(5000, 0), RunSet()}});
  for (const Order order : {Order::kNewestFirst, Order::kOldestFirst}) {
    EXPECT_EQ(Rest(Open(list, order).get()).size(), 2u);
  }
}

TEST_F(PostingCursorTest, SkippedBlocksAreNotOpened) {
  const PostingList list = List('b', 10);
  std::vector<PostingEntry> entries;
  for (uint32_t bucket = 0; bucket < 1000; ++bucket) {
    for (uint32_t i = 0; i < 10; ++i) {
      entries.push_back({SessionNumber(bucket * 1024 + i, 0), RunSet(0, 0)});
    }
  }
  Merge(list, entries);
  const std::unique_ptr<PostingCursor> cursor = Open(list, Order::kNewestFirst);
  const uint64_t block_cost = cursor->cost();
  EXPECT_EQ(block_cost, limits::kPostingSkip_entries + 10);
  for (const uint32_t bucket : {998u, 995u, 700u, 3u}) {
    cursor->Seek(SessionNumber(bucket * 1024 + 500, 0));
    ASSERT_TRUE(cursor->Valid());
    EXPECT_EQ(cursor->session(), SessionNumber(bucket * 1024 + 9, 0));
  }
  EXPECT_EQ(cursor->cost(), 5 * block_cost);
}

TEST_F(PostingCursorTest, DensityIsOfTheTimeThatHasPassed) {
  const PostingList list = List('b', 10);
  Merge(list, {{SessionNumber(2048 + 10, 0), RunSet(0, 0)},
               {SessionNumber(2048 + 99, 0), RunSet(0, 0)}});
  EXPECT_DOUBLE_EQ(Open(list, Order::kNewestFirst)->density(), 0.02);
}

TEST_F(PostingCursorTest, DamageEndsTheWalkWithAnError) {
  const PostingList list = List('b', 10);
  const PostingEntry entry = {SessionNumber(5000, 0), RunSet(0, 0)};
  const std::string good = EncodePostingBlock({entry});
  const std::vector<std::pair<std::string, std::string>> bad = {
      // Cut; in another bucket's place; a change in a block's place.
      {PostingBlockKey(list, 5000), good.substr(0, good.size() - 1)},
      {PostingBlockKey(list, 9000), good},
      {PostingBlockKey(list, 5000), EncodePostingChange({entry})},
      {list.token + "\xff\xff\xff", good},
  };
  for (const auto& [key, value] : bad) {
    Refresh();
    Merge(list, {{SessionNumber(50, 0), RunSet(0, 0)},
                 {SessionNumber(90'000, 0), RunSet(0, 0)}});
    PutRaw(key, value);
    for (const Order order : {Order::kNewestFirst, Order::kOldestFirst}) {
      std::unique_ptr<PostingCursor> cursor = Open(list, order);
      while (cursor->Valid()) cursor->Next();
      EXPECT_TRUE(absl::IsDataLoss(cursor->status())) << cursor->status();
    }
    IndexBatch batch;
    batch.Delete(Family::kPostings, key);
    ASSERT_TRUE(store_->Write(batch).ok());
  }
}

TEST_F(PostingCursorTest, AChangeThatCantBeMergedIsDamage) {
  const PostingList list = List('b', 10);
  Merge(list, {{SessionNumber(5000, 0), RunSet(0, 0)}});
  IndexBatch batch;
  batch.Merge(Family::kPostings, PostingBlockKey(list, 5000), "rubbish");
  ASSERT_TRUE(store_->Write(batch).ok());
  for (const Order order : {Order::kNewestFirst, Order::kOldestFirst}) {
    const std::unique_ptr<PostingCursor> cursor = Open(list, order);
    EXPECT_FALSE(cursor->Valid());
    EXPECT_TRUE(absl::IsDataLoss(cursor->status())) << cursor->status();
  }
}

}  // namespace
}  // namespace diptych::indexer
