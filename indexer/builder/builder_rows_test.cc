// What the index keeps besides what is found: numbers, changes, past states,
// the lists of pairs.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/builder_fixture.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/store/index_view.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using Numbers = std::vector<uint32_t>;
using Sessions = std::vector<SessionNumber>;

constexpr uint32_t kStart_s = kStart_us / kSecond_us;

class BuilderRowsTest : public BuilderTest {
 protected:
  SessionNumber NumberOf(const base::Uuid& session) {
    return View().FindNumber(session).value().value();
  }

  Sessions ChangesSince(uint64_t position, size_t max = 1000) {
    return View().Changes(position, max).value();
  }

  // Anything that can happen to four sessions, in any order.
  void LiveAnyhow(std::mt19937* random) {
    const auto below = [&](int64_t limit) {
      return std::uniform_int_distribution<int64_t>(0, limit - 1)(*random);
    };
    std::vector<base::Uuid> sessions;
    for (int i = 0; i < 4; ++i) {
      sessions.push_back(archive_->Open(kStart_us + below(2) * kSecond_us));
    }
    for (int i = 0; i < 80; ++i) {
      const base::Uuid& id = sessions[static_cast<size_t>(below(4))];
      const int64_t at_us = below(600) * kSecond_us;
      switch (below(10)) {
        case 0:
          archive_->Close(id);
          break;
        case 1:
          archive_->Resume(id);
          break;
        case 2:
          archive_->Tag(id, "rating", {absl::StrCat(below(3))}, at_us);
          break;
        case 3:
          archive_->Tag(id, "clerk", {absl::StrCat(below(3))}, at_us,
                        static_cast<uint32_t>(1 + below(3)));
          break;
        case 4:
          archive_->Tag(id, "item", {absl::StrCat(below(3))}, at_us,
                        static_cast<uint32_t>(1 + below(3)));
          break;
        case 5:
          archive_->Chunk(id, at_us, at_us + kSecond_us);
          break;
        case 6:
          archive_->Event(id, "card_read", at_us);
          break;
        default:
          // In order, mostly.
          archive_->Segment(id, below(4) == 0 ? at_us : i * 10 * kSecond_us,
                            below(4) == 0 ? at_us + below(20) * kSecond_us
                                          : (i + 1) * 10 * kSecond_us);
          break;
      }
    }
  }
};

TEST_F(BuilderRowsTest, NumbersFollowFromTheLog) {
  const base::Uuid a = archive_->Open(kStart_us + 1);
  const base::Uuid b = archive_->Open(kStart_us);
  CatchUp();
  const base::Uuid c = archive_->Open(kStart_us + 2);
  const base::Uuid later = archive_->Open(kStart_us + kSecond_us);
  CatchUp();
  EXPECT_EQ(NumberOf(a), SessionNumber(kStart_s, 0));
  EXPECT_EQ(NumberOf(b), SessionNumber(kStart_s, 1));
  EXPECT_EQ(NumberOf(c), SessionNumber(kStart_s, 2));
  EXPECT_EQ(NumberOf(later), SessionNumber(kStart_s + 1, 0));
  const auto row = View().SessionAt(NumberOf(c)).value();
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->session_id(), c.bytes());
  EXPECT_EQ(row->number(), NumberOf(c).value());
  EXPECT_EQ(builder_->state().max_displacement_s(), 0u);
  EXPECT_FALSE(View().FindNumber(base::Uuid::Random()).value().has_value());
}

TEST_F(BuilderRowsTest, WhateverHappensBatchesComeToTheSame) {
  std::mt19937 random(5);
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    LiveAnyhow(&random);
    std::multiset<std::string> first;
    for (const size_t batch : {1, 7, 1000}) {
      CloseIndex();
      std::filesystem::remove_all(IndexFolder());
      CatchUp(batch);
      if (first.empty()) first = Content();
      EXPECT_EQ(Content(), first) << batch;
    }
  }
}

TEST_F(BuilderRowsTest, APairsListHasRunsWithBoth) {
  const seal::IndexKeys& keys = archive_->index_keys();
  const base::Uuid id = BusySession();
  CatchUp();
  EXPECT_EQ(RunsIn(id, PairList(keys, "C1", "0417")), (Numbers{0, 1}));
  EXPECT_EQ(RunsIn(id, PairList(keys, "C2", "0417")), (Numbers{1, 2}));
  EXPECT_EQ(RunsIn(id, PairList(keys, "C3", "0417")), (Numbers{}));
  EXPECT_EQ(RunsIn(id, PairOverflowList(keys)), (Numbers{}));
  // More than a run's share: the run is in the list of such.
  const base::Uuid many = archive_->Open(kStart_us);
  std::vector<std::string> clerks;
  for (size_t i = 0; i <= limits::kMaxPairsPerRun; ++i) {
    clerks.push_back(absl::StrCat("C", i));
  }
  archive_->Tag(many, "item", {"0417"}, 0);
  archive_->Tag(many, "clerk", {"C1"}, 0);
  archive_->Segment(many, 0, 10 * kSecond_us);
  archive_->Tag(many, "clerk", clerks, 10 * kSecond_us);
  archive_->Segment(many, 10 * kSecond_us, 20 * kSecond_us);
  CatchUp();
  EXPECT_EQ(RunsIn(many, PairList(keys, "C1", "0417")), (Numbers{0}));
  EXPECT_EQ(RunsIn(many, PairOverflowList(keys)), (Numbers{1}));
}

TEST_F(BuilderRowsTest, RunsSayTheirSessionAndTheirTimes) {
  const base::Uuid id = BusySession();
  CatchUp();
  const auto all = View().Runs(NumberOf(id), RunSet(1, 9)).value();
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(all->session, id);
  ASSERT_EQ(all->runs.size(), 2u);
  EXPECT_EQ(all->runs[0].run, 1u);
  EXPECT_EQ(all->runs[0].row.from_us(), 10 * kSecond_us);
  EXPECT_EQ(all->runs[1].row.to_us(), 30 * kSecond_us);
  EXPECT_FALSE(View().Runs(SessionNumber(), RunSet(0, 0)).value().has_value());
}

TEST_F(BuilderRowsTest, ATagIsFoundBeforeItsSegmentIsSealed) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "item", {"1"}, 0);
  archive_->Segment(id, 0, 10 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "", ""), (Numbers{0}));
  archive_->Tag(id, "item", {"2"}, 12 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "item", "2"), (Numbers{1}));
  EXPECT_EQ(Runs(id, "item", "1"), (Numbers{0, 1}));
  EXPECT_EQ(Run(id, 1)->segments_size(), 0);
  EXPECT_EQ(Run(id, 1)->from_us(), 10 * kSecond_us);
  // It was later than the next segment: the end is the open one still.
  archive_->Segment(id, 10 * kSecond_us, 11 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Run(id, 0)->segments(0).last(), 1u);
  EXPECT_EQ(Run(id, 1)->segments_size(), 0);
  EXPECT_EQ(Runs(id, "item", "2"), (Numbers{1}));
  archive_->Segment(id, 11 * kSecond_us, 20 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Run(id, 1)->segments(0).first(), 2u);
  EXPECT_EQ(Runs(id, "item", "2"), (Numbers{1, 2}));
  EXPECT_EQ(Runs(id, "item", "1"), (Numbers{0, 1}));
  // Closed, nothing is open.
  archive_->Close(id);
  CatchUp();
  EXPECT_EQ(Runs(id, "item", "2"), (Numbers{1}));
  EXPECT_EQ(Runs(id, "", ""), (Numbers{0, 1}));
}

TEST_F(BuilderRowsTest, RowsOfManyGroupsAreReadInParts) {
  const base::Uuid id = archive_->Open(kStart_us);
  constexpr uint32_t kMany = 3 * limits::kChunksPerPack + 5;
  for (uint32_t i = 0; i < kMany; ++i) {
    archive_->Segment(id, i * 300 * kSecond_us, (i + 1) * 300 * kSecond_us);
  }
  CatchUp(50);
  const IndexView view = View();
  const SessionNumber number = NumberOf(id);
  EXPECT_EQ(view.Segments(number)->size(), kMany);
  EXPECT_EQ(view.Chunks(id)->size(), kMany);
  const auto segments = view.Segments(number, 30, 70).value();
  ASSERT_EQ(segments.size(), 41u);
  EXPECT_EQ(segments.front().segment(), 30u);
  EXPECT_EQ(segments.back().segment(), 70u);
  const auto chunks = view.Chunks(id, 63, 64).value();
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks.front().chunk(), 63u);
  // Each of them is a run of its own.
  RunSet some(3, 3);
  some.Append(63, 64);
  some.Append(kMany - 1, kMany + 1);
  const auto runs = view.Runs(number, some).value();
  ASSERT_EQ(runs->runs.size(), 4u);
  EXPECT_EQ(runs->runs[2].run, 64u);
  EXPECT_EQ(runs->runs[2].row.segments(0).first(), 64u);
  EXPECT_EQ(runs->runs[3].run, kMany - 1);
}

TEST_F(BuilderRowsTest, ChangesNameWhatRecordsHaveTouched) {
  base::FakeClock clock;
  clock_ = &clock;
  const base::Uuid a = archive_->Open(kStart_us);
  const base::Uuid b = archive_->Open(kStart_us + kSecond_us);
  CatchUp();
  const SessionNumber number_a = NumberOf(a);
  const SessionNumber number_b = NumberOf(b);
  const uint64_t before = builder_->position();
  EXPECT_EQ(ChangesSince(0), (Sessions{number_a, number_b}));
  EXPECT_EQ(ChangesSince(before), Sessions());
  archive_->Tag(b, "item", {"1"}, 0);
  CatchUp();
  EXPECT_EQ(ChangesSince(before), Sessions{number_b});
  archive_->Tag(a, "item", {"1"}, 0);
  archive_->Segment(b, 0, kSecond_us);
  CatchUp(1);
  EXPECT_EQ(ChangesSince(before), (Sessions{number_a, number_b}));
  EXPECT_TRUE(absl::IsResourceExhausted(View().Changes(before, 1).status()));
  // Where keys lie changes nothing that can be found.
  const uint64_t now = builder_->position();
  archive_->RotateIndexKey(seal::KeyPair::Generate("index"));
  CatchUp();
  EXPECT_GT(builder_->position(), now);
  EXPECT_EQ(ChangesSince(now), Sessions());
}

TEST_F(BuilderRowsTest, OldChangesAreForgottenAndItIsKnownSinceWhen) {
  base::FakeClock clock;
  clock_ = &clock;
  const base::Uuid id = archive_->Open(kStart_us);
  for (int i = 0; i < 30; ++i) archive_->Tag(id, "item", {"1"}, i);
  CatchUp(1);
  EXPECT_EQ(builder_->state().changes_from(), 0u);
  const uint64_t middle = builder_->position();
  clock.Advance(limits::kChangesKept / 2);
  archive_->Tag(id, "item", {"2"}, 100);
  CatchUp();
  const uint64_t end = builder_->position();
  clock.Advance(limits::kChangesKept / 2 + absl::Seconds(1));
  // A part with each batch, until all that is old is gone; what is not stays.
  uint64_t from = 0;
  for (int i = 0; i < 4; ++i) {
    archive_->Tag(id, "item", {"3"}, 200 + i);
    CatchUp();
    EXPECT_GE(builder_->state().changes_from(), from);
    from = builder_->state().changes_from();
  }
  EXPECT_EQ(from, middle);
  EXPECT_EQ(ChangesSince(middle), Sessions{NumberOf(id)});
  // Also after a start.
  CloseIndex();
  OpenIndex();
  clock.Advance(limits::kChangesKept);
  archive_->Tag(id, "item", {"4"}, 300);
  CatchUp();
  EXPECT_GE(builder_->state().changes_from(), end);
}

TEST_F(BuilderRowsTest, ASessionRemembersWhatItWas) {
  const base::Uuid id = archive_->Open(kStart_us);
  stored::v1::StateChanged changed;
  changed.set_state(stored::v1::SESSION_STATE_DEGRADED);
  const uint64_t degraded = archive_->durable_end();
  archive_->StateChanged(id, changed);
  // The same again is nothing new.
  archive_->StateChanged(id, changed);
  const uint64_t closing = archive_->durable_end();
  archive_->Close(id);
  const uint64_t reopening = archive_->durable_end();
  archive_->Resume(id);
  CatchUp(1);
  auto row = View().Session(id).value().value();
  ASSERT_EQ(row.past_states_size(), 4);
  EXPECT_EQ(row.past_states(0).position(), row.opened_position());
  EXPECT_EQ(row.past_states(0).closed(), stored::v1::CLOSE_REASON_UNSPECIFIED);
  EXPECT_EQ(row.past_states(1).position(), degraded);
  EXPECT_EQ(row.past_states(1).state(), stored::v1::SESSION_STATE_DEGRADED);
  EXPECT_EQ(row.past_states(2).position(), closing);
  EXPECT_EQ(row.past_states(2).closed(), stored::v1::CLOSE_REASON_CLOSED);
  EXPECT_EQ(row.past_states(3).position(), reopening);
  EXPECT_EQ(row.past_states(3).closed(), stored::v1::CLOSE_REASON_UNSPECIFIED);
  // The first and the latest stay.
  for (int i = 0; i < limits::kMaxPastStates; ++i) {
    changed.set_state(i % 2 == 0 ? stored::v1::SESSION_STATE_DEGRADED
                                 : stored::v1::SESSION_STATE_RECOVERED);
    archive_->StateChanged(id, changed);
  }
  CatchUp();
  row = View().Session(id).value().value();
  EXPECT_EQ(row.past_states_size(), limits::kMaxPastStates);
  EXPECT_EQ(row.past_states(0).position(), row.opened_position());
  EXPECT_GT(row.past_states(2).position(), reopening);
}

TEST_F(BuilderRowsTest, TheFollowerSaysHowFarBehindItIs) {
  base::FakeClock clock;
  clock.Advance(absl::Hours(1));
  OpenIndex();
  LogFollower follower(&archive_->log(), builder_.get(), &clock);
  archive_->Open(kStart_us);
  EXPECT_EQ(follower.status().lag_us, 0);
  const uint64_t end = archive_->durable_end();
  // What the writer promises and the log does not have yet.
  follower.SetDurableEnd(end + 1);
  clock.Advance(absl::Seconds(3));
  EXPECT_EQ(follower.status().lag_us, 3'000'000);
  while (archive_->durable_end() <= end + 1) archive_->Open(kStart_us);
  follower.SetDurableEnd(archive_->durable_end());
  ASSERT_TRUE(follower.WaitUntil(archive_->durable_end(), absl::Seconds(30)));
  EXPECT_EQ(follower.status().lag_us, 0);
  EXPECT_EQ(follower.status().worst_lag_us, 3'000'000);
  clock.Advance(absl::Minutes(2));
  EXPECT_EQ(follower.status().worst_lag_us, 0);
}

TEST_F(BuilderRowsTest, StatesAreKeptUntilTheyAreTooMany) {
  const base::Uuid id = archive_->Open(kStart_us);
  const auto change = [&](int i) {
    stored::v1::StateChanged changed;
    changed.set_state(i % 2 == 0 ? stored::v1::SESSION_STATE_DEGRADED
                                 : stored::v1::SESSION_STATE_RECOVERED);
    archive_->StateChanged(id, changed);
  };
  // The opening is one too.
  for (int i = 1; i < limits::kMaxPastStates; ++i) change(i);
  CatchUp();
  auto row = View().Session(id).value().value();
  ASSERT_EQ(row.past_states_size(), limits::kMaxPastStates);
  EXPECT_NE(row.past_states(1).position(), row.past_states(0).position());
  const uint64_t fourth = row.past_states(4).position();
  change(0);
  change(1);
  CatchUp();
  row = View().Session(id).value().value();
  ASSERT_EQ(row.past_states_size(), limits::kMaxPastStates);
  EXPECT_EQ(row.past_states(0).position(), row.opened_position());
  EXPECT_EQ(row.past_states(1).position(), row.opened_position());
  EXPECT_EQ(row.past_states(2).position(), fourth);
}

TEST_F(BuilderRowsTest, ASessionIsInTheListsOfItsState) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Segment(id, 0, 10 * kSecond_us);
  const auto in = [&](ListedState state) {
    return RunsIn(id, StateList(archive_->index_keys(), state)) == Numbers{0};
  };
  CatchUp();
  EXPECT_TRUE(in(ListedState::kOpen));
  EXPECT_FALSE(in(ListedState::kDegraded));
  stored::v1::StateChanged changed;
  changed.set_state(stored::v1::SESSION_STATE_DEGRADED);
  archive_->StateChanged(id, changed);
  CatchUp();
  EXPECT_TRUE(in(ListedState::kOpen));
  EXPECT_TRUE(in(ListedState::kDegraded));
  changed.set_state(stored::v1::SESSION_STATE_RECOVERED);
  archive_->StateChanged(id, changed);
  // Once more, which brings no new event.
  changed.set_state(stored::v1::SESSION_STATE_DEGRADED);
  archive_->StateChanged(id, changed);
  changed.set_state(stored::v1::SESSION_STATE_RECOVERED);
  archive_->StateChanged(id, changed);
  CatchUp();
  EXPECT_FALSE(in(ListedState::kDegraded));
  EXPECT_TRUE(in(ListedState::kRecovered));
  archive_->Close(id, stored::v1::CLOSE_REASON_ABANDONED);
  CatchUp();
  EXPECT_FALSE(in(ListedState::kOpen));
  EXPECT_FALSE(in(ListedState::kRecovered));
  EXPECT_FALSE(in(ListedState::kClosed));
  EXPECT_TRUE(in(ListedState::kAbandoned));
}

TEST_F(BuilderRowsTest, ANumberThatAnotherEpochUsedIsNoted) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Segment(id, 0, 10 * kSecond_us);
  CatchUp();
  const auto segment = View().Segments(NumberOf(id)).value().front();
  const auto write = [&](uint64_t epoch) {
    stored::v1::Segment again;
    again.set_session_id(std::string(id.bytes()));
    again.set_epoch(epoch);
    again.set_segment(segment.segment());
    archive_->Append(log::RecordType::kSegment, again.SerializeAsString(), "");
    CatchUp();
  };
  // The same once more.
  write(segment.epoch());
  EXPECT_EQ(View().State()->unopened_records(), 0u);
  write(segment.epoch() + 7);
  EXPECT_EQ(View().State()->unopened_records(), 1u);
  EXPECT_EQ(View().Session(id).value()->unopened_records(), 1u);
  EXPECT_EQ(View().Segments(NumberOf(id)).value().front().position(),
            segment.position());
}

TEST_F(BuilderRowsTest, TheDictionaryHasWhatIsPosted) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "item", {"1"}, 0);
  archive_->Tag(id, "item", {"2", ""}, 0);
  archive_->Event(id, "card_read", 0);
  stored::v1::StateChanged changed;
  changed.set_state(stored::v1::SESSION_STATE_RECOVERED);
  archive_->StateChanged(id, changed);
  CatchUp();
  EXPECT_EQ(View().Session(id).value()->refused_tag_notes(), 1u);
  using Values = std::vector<std::string>;
  EXPECT_EQ(View().DictionaryValues("item", 10).value(), Values{"1"});
  Values events = View().DictionaryValues("event", 10).value();
  std::sort(events.begin(), events.end());
  EXPECT_EQ(events, (Values{"card_read", "session_recovered"}));
}

TEST_F(BuilderRowsTest, TimesThatNoSessionHasAreTaken) {
  const base::Uuid id = archive_->Open(kStart_us);
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  archive_->Segment(id, kLeast, kLeast + 1);
  archive_->Segment(id, kMost - 1, kMost);
  CatchUp();
  EXPECT_EQ(Runs(id, "", ""), (Numbers{0, 1}));
}

}  // namespace
}  // namespace diptych::indexer
