#include "indexer/store/posting_group.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_test_data.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

TEST(PostingGroupTest, WhatWentInComesOut) {
  PostingDice dice(1);
  for (uint32_t count = 1; count <= limits::kPostingSkip_entries; ++count) {
    const std::vector<PostingEntry> entries =
        dice.Entries(count, uint64_t{1} << dice.Below(25), dice.OneIn(2));
    std::string bytes;
    AppendPostingGroup(entries, &bytes);
    PostingGroup group;
    ASSERT_TRUE(group.Read(bytes, entries.front().session, count, false));
    ASSERT_EQ(group.size(), count);
    uint64_t runs = 0;
    for (uint32_t i = 0; i < count; ++i) {
      EXPECT_EQ(group.session(i), entries[i].session);
      EXPECT_EQ(group.CountBefore(entries[i].session), i);
      RunSet set;
      ASSERT_TRUE(group.ReadRuns(i, &set));
      EXPECT_EQ(set, entries[i].runs);
      runs += set.size();
    }
    uint64_t counted = 0;
    ASSERT_TRUE(group.CountRuns(&counted));
    EXPECT_EQ(counted, runs);
    EXPECT_EQ(group.CountBefore(SessionNumber::Largest()), count);
  }
}

TEST(PostingGroupTest, SetsWithoutRunsAreForChangesAlone) {
  std::string bytes;
  const PostingEntry first = {SessionNumber(5, 0), RunSet(0, 0)};
  AppendPostingGroup({first, {SessionNumber(9, 0), RunSet()}}, &bytes);
  PostingGroup group;
  RunSet runs;
  ASSERT_TRUE(group.Read(bytes, first.session, 2, true));
  EXPECT_TRUE(group.ReadRuns(1, &runs));
  EXPECT_TRUE(runs.empty());
  // Runs are looked at when they are asked for.
  ASSERT_TRUE(group.Read(bytes, first.session, 2, false));
  EXPECT_FALSE(group.ReadRuns(1, &runs));
  std::string lone;
  AppendLonePosting(RunSet(), &lone);
  EXPECT_TRUE(group.ReadLone(lone, first.session, true));
  EXPECT_FALSE(group.ReadLone(lone, first.session, false));
  EXPECT_EQ(group.size(), 0u);
}

TEST(PostingGroupTest, AGroupOfAnotherLengthIsNone) {
  PostingDice dice(2);
  const std::vector<PostingEntry> entries = dice.Entries(20, 100, true);
  std::string bytes;
  AppendPostingGroup(entries, &bytes);
  PostingGroup group;
  EXPECT_FALSE(group.Read(bytes, entries.front().session, 0, false));
  EXPECT_FALSE(group.Read(bytes, entries.front().session, 64, false));
  EXPECT_FALSE(group.Read(absl::string_view(), SessionNumber(), 1, false));
  // Past the last second that there is.
  EXPECT_FALSE(group.Read(bytes, SessionNumber::Largest(), 20, false));
}

}  // namespace
}  // namespace diptych::indexer
