#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/record_list.h"
#include "indexer/store/session_media.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

std::string FreshFolder(const std::string& name) {
  const std::string folder = absl::StrCat(::testing::TempDir(), "/", name);
  std::filesystem::remove_all(folder);
  return folder;
}

TEST(KeysTest, SessionsSortByTheirNumbers) {
  const SessionNumber numbers[] = {
      SessionNumber(), SessionNumber(0, 0xffff), SessionNumber(1, 0),
      SessionNumber(0x80'00'00'00, 7), SessionNumber::Largest()};
  std::string last;
  for (const SessionNumber number : numbers) {
    const std::string key = SessionKey(number);
    EXPECT_EQ(key.size(), SessionNumber::kKey_bytes);
    EXPECT_EQ(ReadSessionNumber(key), number);
    EXPECT_EQ(ReadSessionNumber(GroupKey(number, 3)), number);
    EXPECT_LT(last, key);
    last = key;
  }
}

TEST(KeysTest, PrefixEndIsBehindThePrefix) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd("a\xff"), "b");
  EXPECT_EQ(PrefixEnd("\xff\xff"), "");
}

TEST(IndexStoreTest, TellsHowLargeItsFilesAreOnceItIsCompact) {
  auto store =
      IndexStore::Open(FreshFolder("store_compact"), base::Uuid::Random())
          .value();
  IndexBatch batch;
  batch.Put(Family::kRuns, "k", "1");
  ASSERT_TRUE(store->Write(batch).ok());
  EXPECT_EQ(store->FileBytes(Family::kRuns).value(), 0u);
  ASSERT_TRUE(store->Compact().ok());
  EXPECT_GT(store->FileBytes(Family::kRuns).value(), 0u);
  EXPECT_EQ(store->FileBytes(Family::kChunks).value(), 0u);
  EXPECT_EQ(*store->NewSnapshot()->Get(Family::kRuns, "k").value(), "1");
}

TEST(IndexStoreTest, WritesTogetherAndSeesOneMoment) {
  const std::string folder = FreshFolder("store_moment");
  const base::Uuid archive = base::Uuid::Random();
  auto store = IndexStore::Open(folder, archive).value();
  IndexBatch batch;
  batch.Put(Family::kChunks, "k", "1");
  batch.Put(Family::kRuns, "k", "2");
  ASSERT_TRUE(store->Write(batch).ok());
  const auto snapshot = store->NewSnapshot();
  IndexBatch later;
  later.Delete(Family::kChunks, "k");
  later.Put(Family::kRuns, "k", "3");
  ASSERT_TRUE(store->Write(later).ok());
  EXPECT_EQ(snapshot->Get(Family::kChunks, "k").value(), "1");
  EXPECT_EQ(snapshot->Get(Family::kRuns, "k").value(), "2");
  const auto now = store->NewSnapshot();
  EXPECT_FALSE(now->Get(Family::kChunks, "k").value().has_value());
  EXPECT_EQ(now->Get(Family::kRuns, "k").value(), "3");
}

TEST(IndexStoreTest, RefusesAnotherArchiveAndASecondOpener) {
  const std::string folder = FreshFolder("store_identity");
  const base::Uuid archive = base::Uuid::Random();
  {
    auto store = IndexStore::Open(folder, archive).value();
    EXPECT_TRUE(
        absl::IsFailedPrecondition(IndexStore::Open(folder, archive).status()));
    EXPECT_TRUE(
        absl::IsFailedPrecondition(IndexStore::LockDirectory(folder).status()));
  }
  const absl::Status other =
      IndexStore::Open(folder, base::Uuid::Random()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(other));
  EXPECT_NE(other.message().find("index rebuild"), absl::string_view::npos);
}

void AddNote(const std::string& key, const std::vector<std::string>& values,
             uint32_t operation, int64_t at_us, stored::v1::SessionRow* row) {
  auto* note = row->add_tag_notes();
  note->set_key(key);
  for (const std::string& value : values) note->add_values(value);
  note->set_operation(operation);
  note->set_at_us(at_us);
  note->set_position(static_cast<uint64_t>(row->tag_notes_size()));
}

std::string Show(const std::vector<TagSpan>& tags) {
  std::string text;
  for (const TagSpan& tag : tags) {
    absl::StrAppend(&text, tag.key, "=", tag.value);
    if (!tag.whole_session) {
      absl::StrAppend(&text, "[", tag.from_us, ",",
                      tag.to_us == kForever_us ? "" : absl::StrCat(tag.to_us),
                      ")");
    }
    text += " ";
  }
  return text;
}

TEST(FoldTagsTest, TimedValuesHoldFromTheirTimeUntilReplaced) {
  stored::v1::SessionRow row;
  AddNote("item", {"1"}, 2, 0, &row);
  AddNote("item", {"2", "3"}, 2, 10, &row);
  AddNote("item", {"2"}, 3, 20, &row);
  AddNote("item", {"4"}, 1, 30, &row);
  EXPECT_EQ(Show(FoldTags(row)),
            "item=1[0,10) item=2[10,20) item=3[10,) "
            "item=4[30,) ");
  // A late note finds its place.
  AddNote("item", {"9"}, 2, 5, &row);
  EXPECT_EQ(Show(FoldTags(row)),
            "item=1[0,5) item=2[10,20) item=3[10,) "
            "item=4[30,) item=9[5,10) ");
  // None at all removes the key.
  AddNote("item", {}, 2, 40, &row);
  EXPECT_EQ(Show(FoldTags(row)),
            "item=1[0,5) item=2[10,20) item=3[10,40) "
            "item=4[30,40) item=9[5,10) ");
}

TEST(FoldTagsTest, WholeSessionValuesAreRevised) {
  stored::v1::SessionRow row;
  AddNote("rating", {"2"}, 2, 50, &row);
  AddNote("rating", {"5"}, 2, 60, &row);
  AddNote("case", {"a"}, 1, 10, &row);
  AddNote("case", {"b"}, 1, 20, &row);
  EXPECT_EQ(Show(FoldTags(row)), "case=a case=b rating=5 ");
}

SegmentTimes MakeSegment(uint32_t number, int64_t from_us, int64_t to_us) {
  SegmentTimes segment;
  segment.segment = number;
  segment.window_start_us = from_us;
  segment.window_end_us = to_us;
  return segment;
}

TEST(PlanRunsTest, EveryMomentBelongsToASegment) {
  stored::v1::SessionRow row;
  // Between two windows, and after the last one.
  AddNote("item", {"early"}, 2, 0, &row);
  AddNote("item", {"between"}, 2, 12, &row);
  AddNote("item", {"later"}, 2, 15, &row);
  AddNote("item", {"last"}, 2, 99, &row);
  std::vector<SegmentTimes> segments = {MakeSegment(0, 5, 10),
                                        MakeSegment(1, 20, 30)};
  const std::vector<TagSpan> tags = FoldTags(row);
  const auto values = [&](const RunPlan& run) {
    std::vector<std::string> found;
    for (const size_t tag : run.tags) found.push_back(tags[tag].value);
    std::sort(found.begin(), found.end());
    return found;
  };
  std::vector<RunPlan> runs = PlanRuns(row, tags, &segments).runs();
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(values(runs[0]), (std::vector<std::string>{"early"}));
  EXPECT_EQ(values(runs[1]),
            (std::vector<std::string>{"between", "early", "later"}));
  // What holds from now on is found before it has a segment.
  EXPECT_EQ(values(runs[2]), (std::vector<std::string>{"last", "later"}));
  EXPECT_TRUE(runs[2].segments.empty());
  EXPECT_EQ(runs[2].from_us, 30);
  EXPECT_EQ(runs[2].to_us, 30);
  row.set_closed(stored::v1::CLOSE_REASON_CLOSED);
  runs = PlanRuns(row, tags, &segments).runs();
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(values(runs[1]),
            (std::vector<std::string>{"between", "early", "last", "later"}));
}

TEST(PlanRunsTest, AnOpenEndIsARunOnlyIfItsTagsAreOthers) {
  stored::v1::SessionRow row;
  AddNote("item", {"1"}, 2, 0, &row);
  AddNote("rating", {"5"}, 2, 500, &row);
  std::vector<SegmentTimes> segments = {MakeSegment(0, 0, 10)};
  EXPECT_EQ(PlanRuns(row, FoldTags(row), &segments).runs().size(), 1u);
  AddNote("item", {"2"}, 2, 10, &row);
  RunPlanner planner = PlanRuns(row, FoldTags(row), &segments);
  ASSERT_EQ(planner.runs().size(), 2u);
  // item=2 and the rating.
  EXPECT_EQ(planner.runs()[1].tags.size(), 2u);
  // Its segment comes: the same tags, and now it is a run like others.
  SegmentTimes next = MakeSegment(1, 10, 20);
  const std::vector<size_t> tags = planner.runs()[1].tags;
  planner.Add(false, &next);
  planner.AddOpenEnd();
  ASSERT_EQ(planner.runs().size(), 2u);
  EXPECT_EQ(planner.runs()[1].tags, tags);
  EXPECT_EQ(planner.runs()[1].segments.size(), 1u);
}

TEST(PlanRunsTest, RunsAreCutByTagsAndByLength) {
  constexpr int64_t kSecond = 1'000'000;
  stored::v1::SessionRow row;
  AddNote("item", {"1"}, 2, 0, &row);
  AddNote("item", {"2"}, 2, 400 * kSecond, &row);
  std::vector<SegmentTimes> segments;
  for (uint32_t i = 0; i < 60; ++i) {
    segments.push_back(
        MakeSegment(i, i * 10 * kSecond, (i + 1) * 10 * kSecond));
  }
  const std::vector<RunPlan> runs =
      PlanRuns(row, FoldTags(row), &segments).runs();
  ASSERT_EQ(runs.size(), 3u);
  using Ranges = std::vector<RunPlan::Range>;
  EXPECT_EQ(runs[0].segments, (Ranges{{0, 29}}));
  EXPECT_EQ(runs[1].segments, (Ranges{{30, 39}}));
  EXPECT_EQ(runs[2].segments, (Ranges{{40, 59}}));
}

TEST(PlanRunsTest, WhatComesLateCountsForItsOwnTime) {
  constexpr int64_t kSecond = 1'000'000;
  stored::v1::SessionRow row;
  AddNote("item", {"1"}, 2, 0, &row);
  AddNote("item", {"2"}, 2, 60 * kSecond, &row);
  // The live side, and 60 s of the other that come while it goes on.
  std::vector<SegmentTimes> segments;
  uint32_t number = 0;
  for (int i = 0; i < 6; ++i) {
    segments.push_back(
        MakeSegment(number++, i * 10 * kSecond, (i + 1) * 10 * kSecond));
  }
  for (int i = 0; i < 60; ++i) {
    segments.push_back(
        MakeSegment(number++, (60 + i) * kSecond, (61 + i) * kSecond));
    segments.push_back(MakeSegment(number++, i * kSecond, (i + 1) * kSecond));
  }
  const std::vector<TagSpan> tags = FoldTags(row);
  const std::vector<RunPlan> runs = PlanRuns(row, tags, &segments).runs();
  ASSERT_EQ(runs.size(), 2u);
  ASSERT_EQ(runs[0].tags.size(), 1u);
  EXPECT_EQ(tags[runs[0].tags[0]].value, "1");
  ASSERT_EQ(runs[1].tags.size(), 1u);
  EXPECT_EQ(tags[runs[1].tags[0]].value, "2");
  // The first six and every second one of the rest.
  EXPECT_EQ(runs[0].segments.size(), 61u);
  EXPECT_EQ(runs[0].segments.front(), (RunPlan::Range{0, 5}));
  EXPECT_EQ(runs[0].segments.back(), (RunPlan::Range{125, 125}));
  EXPECT_EQ(runs[1].segments.size(), 60u);
  EXPECT_EQ(runs[1].from_us, 60 * kSecond);
  EXPECT_EQ(runs[1].to_us, 120 * kSecond);
  // Late and inside another's window: it ends where its own window does.
  EXPECT_EQ(segments[7].tags_to_us, kSecond);
}

TEST(PlanRunsTest, TheLastRunTakesInWhatComesAfterTheMost) {
  constexpr int64_t kSecond = 1'000'000;
  stored::v1::SessionRow row;
  AddNote("item", {"1"}, 2, 0, &row);
  std::vector<SegmentTimes> segments;
  // Every segment a run of its own: each is as long as a run may be.
  constexpr auto kMost = static_cast<uint32_t>(limits::kMaxRunsPerSession);
  for (uint32_t i = 0; i < kMost + 2; ++i) {
    const int64_t from_us = i * limits::kRunMax_us;
    segments.push_back(MakeSegment(i, from_us, from_us + limits::kRunMax_us));
  }
  AddNote("item", {"2"}, 2, segments.back().window_end_us - kSecond, &row);
  const RunPlanner plan = PlanRuns(row, FoldTags(row), &segments);
  ASSERT_EQ(plan.runs().size(), limits::kMaxRunsPerSession);
  EXPECT_EQ(plan.runs()[kMost - 2].tags.size(), 1u);
  const RunPlan& last = plan.runs().back();
  EXPECT_EQ(last.segments,
            (std::vector<RunPlan::Range>{{kMost - 1, kMost + 1}}));
  EXPECT_EQ(last.tags.size(), 2u);
  EXPECT_EQ(last.to_us, segments.back().window_end_us);
  // An open end too.
  AddNote("item", {"3"}, 2, segments.back().window_end_us + kSecond, &row);
  RunPlanner open = PlanRuns(row, FoldTags(row), &segments);
  ASSERT_EQ(open.runs().size(), limits::kMaxRunsPerSession);
  EXPECT_EQ(open.runs().back().tags.size(), 3u);
  SegmentTimes next = MakeSegment(kMost + 2, segments.back().window_end_us,
                                  segments.back().window_end_us + 1);
  open.Add(false, &next);
  EXPECT_EQ(open.runs().back().tags.size(), 2u);
  open.AddOpenEnd();
  EXPECT_EQ(open.runs().back().tags.size(), 3u);
}

// Segment by segment comes to the same as all at once.
TEST(PlanRunsTest, OneMoreCostsNoMoreThanItself) {
  std::mt19937 random(7);
  const auto below = [&](int64_t limit) {
    return std::uniform_int_distribution<int64_t>(0, limit - 1)(random);
  };
  for (int round = 0; round < 300; ++round) {
    stored::v1::SessionRow row;
    for (int64_t i = below(8); i > 0; --i) {
      AddNote(i % 2 == 0 ? "item" : "rating", {absl::StrCat(below(3))},
              static_cast<uint32_t>(1 + below(3)), below(400) * 10'000'000,
              &row);
    }
    RunPlanner planner(FoldTags(row));
    std::vector<SegmentTimes> added;
    int64_t from_us = 0;
    for (uint32_t i = 0; i < 40; ++i) {
      from_us += below(20'000'000);
      SegmentTimes segment =
          MakeSegment(i, from_us, from_us + below(20'000'000));
      added.push_back(segment);
      ASSERT_TRUE(planner.ComesNext(segment));
      planner.Add(false, &added.back());
      planner.AddOpenEnd();
      std::vector<SegmentTimes> all = added;
      const RunPlanner again = PlanRuns(row, FoldTags(row), &all);
      ASSERT_EQ(again.runs(), planner.runs());
      ASSERT_EQ(all, added);
    }
    EXPECT_FALSE(planner.ComesNext(MakeSegment(40, -1, 5)));
  }
}

TEST(RecordListTest, KeepsTypesAndPlaces) {
  using log::RecordType;
  const std::vector<RecordRef> records = {{RecordType::kSessionOpened, 0},
                                          {RecordType::kNotes, 700},
                                          {RecordType::kSourceDigest, 1 << 30}};
  stored::v1::RecordList list;
  for (const RecordRef& record : records) AppendRecord(record, &list);
  // Read again from the log.
  AppendRecord(records[1], &list);
  const auto read = ReadRecordList(list);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, records);
  list.mutable_types()->pop_back();
  EXPECT_EQ(ReadRecordList(list).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace diptych::indexer
