#include "indexer/store/posting_merge.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_test_data.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

using Model = std::map<SessionNumber, RunSet>;

std::vector<PostingEntry> EntriesOf(const Model& model) {
  std::vector<PostingEntry> entries;
  for (const auto& [session, runs] : model) entries.push_back({session, runs});
  return entries;
}

std::vector<absl::string_view> Views(const std::vector<std::string>& strings) {
  return std::vector<absl::string_view>(strings.begin(), strings.end());
}

// Some sessions of a block's time, old and new, to stay or to go.
Model RandomChange(PostingDice* dice, uint64_t seconds) {
  Model change;
  const uint64_t count = 1 + dice->Below(dice->OneIn(10) ? 200 : 4);
  for (uint64_t i = 0; i < count; ++i) {
    const SessionNumber session(
        static_cast<uint32_t>(1'700'000'000 + dice->Below(seconds)),
        static_cast<uint16_t>(dice->OneIn(5) ? dice->Below(4) : 0));
    change[session] = dice->OneIn(4) ? RunSet() : dice->Runs();
  }
  return change;
}

// Puts neighbours together, in order, until a few are left.
std::vector<std::string> PutTogether(PostingDice* dice,
                                     std::vector<std::string> changes) {
  while (changes.size() > 1 && !dice->OneIn(4)) {
    const size_t first = dice->Below(changes.size() - 1);
    const size_t count = 2 + dice->Below(changes.size() - first - 1);
    const std::vector<std::string> some(
        changes.begin() + static_cast<long>(first),
        changes.begin() + static_cast<long>(first + count));
    const std::string together = MergePostingChanges(Views(some)).value();
    changes.erase(changes.begin() + static_cast<long>(first) + 1,
                  changes.begin() + static_cast<long>(first + count));
    changes[first] = together;
  }
  return changes;
}

TEST(PostingMergeTest, AnyGroupingOfChangesGivesWhatAMapGives) {
  PostingDice dice(1);
  for (int round = 0; round < 300; ++round) {
    Model model;
    std::vector<std::string> changes;
    const uint64_t seconds = dice.OneIn(2) ? 40 : 2000;
    for (uint64_t i = 1 + dice.Below(25); i > 0; --i) {
      const Model change = RandomChange(&dice, seconds);
      for (const auto& [session, runs] : change) {
        if (runs.empty()) {
          model.erase(session);
        } else {
          model[session] = runs;
        }
      }
      changes.push_back(EncodePostingChange(EntriesOf(change)));
    }
    const std::string expected = EncodePostingBlock(EntriesOf(model));

    // All at once; one by one; some first, on a block or not, put together or
    // not; and from any place on a second time.
    EXPECT_EQ(MergePostingBlock("", Views(changes)).value(), expected);
    std::string one_by_one;
    for (const std::string& change : changes) {
      one_by_one = MergePostingBlock(one_by_one, {change}).value();
    }
    EXPECT_EQ(one_by_one, expected);
    for (int way = 0; way < 5; ++way) {
      const auto split =
          changes.begin() + static_cast<long>(dice.Below(changes.size() + 1));
      const std::vector<std::string> first(changes.begin(), split);
      const std::vector<std::string> rest =
          PutTogether(&dice, {split, changes.end()});
      const std::string block =
          MergePostingBlock("", Views(PutTogether(&dice, first))).value();
      EXPECT_EQ(MergePostingBlock(block, Views(rest)).value(), expected);
      EXPECT_EQ(MergePostingBlock(expected, Views(rest)).value(), expected);
    }
  }
}

TEST(PostingMergeTest, WhatGoesLeavesAnEmptyBlock) {
  const PostingEntry entry = {SessionNumber(7, 0), RunSet(0, 2)};
  const std::string removal =
      EncodePostingChange({{SessionNumber(7, 0), RunSet()}});
  EXPECT_EQ(MergePostingBlock(EncodePostingBlock({entry}), {removal}).value(),
            EncodePostingBlock({}));
  EXPECT_EQ(MergePostingBlock("", {removal}).value(), EncodePostingBlock({}));
  // A removal is remembered for a block that is not there yet.
  EXPECT_EQ(
      MergePostingChanges({EncodePostingChange({entry}), removal}).value(),
      removal);
}

TEST(PostingMergeTest, DamageIsSaid) {
  const std::string block =
      EncodePostingBlock({{SessionNumber(7, 0), RunSet(0, 2)}});
  const std::string change =
      EncodePostingChange({{SessionNumber(8, 0), RunSet(0, 2)}});
  const std::string cut = change.substr(0, change.size() - 1);
  EXPECT_TRUE(absl::IsDataLoss(MergePostingBlock(block, {cut}).status()));
  EXPECT_TRUE(absl::IsDataLoss(MergePostingBlock(block, {""}).status()));
  EXPECT_TRUE(absl::IsDataLoss(MergePostingBlock(cut, {change}).status()));
  EXPECT_TRUE(absl::IsDataLoss(MergePostingChanges({change, cut}).status()));
}

// Long blocks grow at their end, mostly; what lies before must stay.
TEST(PostingMergeTest, LongBlocksGrowAnywhere) {
  PostingDice dice(2);
  Model model;
  for (const PostingEntry& entry : dice.Entries(3000, 20)) {
    model[entry.session] = entry.runs;
  }
  std::string block = EncodePostingBlock(EntriesOf(model));
  for (int round = 0; round < 200; ++round) {
    Model change;
    for (uint64_t i = 1 + dice.Below(5); i > 0; --i) {
      // The end, the beginning, or between.
      auto near = dice.OneIn(2) ? std::prev(model.end()) : model.begin();
      if (dice.OneIn(2)) {
        near = model.lower_bound(
            SessionNumber::FromValue(model.begin()->first.value() +
                                     dice.Below(model.rbegin()->first.value() -
                                                model.begin()->first.value())));
      }
      const uint64_t at =
          near->first.value() + (dice.OneIn(2) ? dice.Below(1 << 20) : 0);
      change[SessionNumber::FromValue(at)] =
          dice.OneIn(4) ? RunSet() : dice.Runs();
    }
    for (const auto& [session, runs] : change) {
      if (runs.empty()) {
        model.erase(session);
      } else {
        model[session] = runs;
      }
    }
    block = MergePostingBlock(block, {EncodePostingChange(EntriesOf(change))})
                .value();
    ASSERT_EQ(block, EncodePostingBlock(EntriesOf(model))) << round;
  }
}

}  // namespace
}  // namespace diptych::indexer
