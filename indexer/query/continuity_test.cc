// What ingest tells besides media: states, clocks, silence, and media that
// comes long after its time.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/query/catalog_fixture.h"
#include "indexer/store/index_view.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::SIDE_CLERK;
using stored::v1::SIDE_RESIDENT;

class ContinuityTest : public CatalogTest {
 protected:
  api::v1::GetSessionResponse Get(const base::Uuid& id) {
    api::v1::GetSessionRequest request;
    request.set_session_id(id.ToString());
    const auto response = catalog_->GetSession(request, caller_);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *response : api::v1::GetSessionResponse();
  }

  void Degrade(const base::Uuid& id, int64_t at_us) {
    stored::v1::StateChanged changed;
    changed.set_state(stored::v1::SESSION_STATE_DEGRADED);
    changed.set_at_us(at_us);
    auto* trouble = changed.add_troubles();
    trouble->set_side(SIDE_RESIDENT);
    trouble->set_trouble(stored::v1::TROUBLE_STALLED);
    trouble->set_since_us(at_us - 4 * kSecond_us);
    archive_->StateChanged(id, changed);
  }

  void Recover(const base::Uuid& id, int64_t at_us) {
    stored::v1::StateChanged changed;
    changed.set_state(stored::v1::SESSION_STATE_RECOVERED);
    changed.set_at_us(at_us);
    archive_->StateChanged(id, changed);
  }

  static stored::v1::Gap MakeGap(stored::v1::Side side, uint32_t track,
                                 int64_t from_us, int64_t to_us) {
    stored::v1::Gap gap;
    gap.set_side(side);
    gap.set_track_id(track);
    gap.set_start_us(from_us);
    gap.set_end_us(to_us);
    return gap;
  }

  static std::string EventText(const api::v1::SessionEvent& at) {
    std::string text =
        absl::StrCat(at.at_us() / kSecond_us, " s ", at.event().type());
    for (const auto& attribute : at.event().attributes()) {
      absl::StrAppend(&text, " ", attribute.key(), "=", attribute.value());
    }
    return text;
  }

  static std::vector<std::string> Events(
      const api::v1::GetSessionResponse& shown) {
    std::vector<std::string> events;
    for (const auto& event : shown.events()) {
      events.push_back(EventText(event));
    }
    return events;
  }

  static std::vector<std::string> Gaps(
      const api::v1::GetSessionResponse& shown) {
    std::vector<std::string> gaps;
    for (const auto& gap : shown.gaps()) {
      gaps.push_back(absl::StrCat(
          gap.side() == api::v1::SIDE_RESIDENT ? "resident" : "clerk", " ",
          gap.track_id(), " ", gap.start_us() / kSecond_us, "-",
          gap.end_us() / kSecond_us));
    }
    return gaps;
  }
};

TEST_F(ContinuityTest, AStateIsShownKeptAndFound) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Segment(id, 0, 10 * kSecond_us);
  EXPECT_EQ(Get(id).session().state(), api::v1::SESSION_STATE_OPEN);
  EXPECT_EQ(Count("event = session_degraded"), 0u);

  Degrade(id, 14 * kSecond_us);
  api::v1::GetSessionResponse shown = Get(id);
  EXPECT_EQ(shown.session().state(), api::v1::SESSION_STATE_DEGRADED);
  EXPECT_EQ(ListPage("").value().sessions(0).state(),
            api::v1::SESSION_STATE_DEGRADED);
  ASSERT_EQ(shown.state_changes_size(), 1);
  const api::v1::StateChange& change = shown.state_changes(0);
  EXPECT_EQ(change.state(), api::v1::SESSION_STATE_DEGRADED);
  EXPECT_EQ(change.at_us(), 14 * kSecond_us);
  ASSERT_EQ(change.troubles_size(), 1);
  EXPECT_EQ(change.troubles(0).side(), api::v1::SIDE_RESIDENT);
  EXPECT_EQ(change.troubles(0).trouble(),
            api::v1::SideTrouble::TROUBLE_STALLED);
  EXPECT_EQ(change.troubles(0).since_us(), 10 * kSecond_us);

  // To be degraded is to be open.
  EXPECT_EQ(Count("state = degraded"), 1u);
  EXPECT_EQ(Count("state = open"), 1u);
  EXPECT_EQ(Count("state = recovered"), 0u);

  Recover(id, 20 * kSecond_us);
  EXPECT_EQ(Count("state = degraded"), 0u);
  EXPECT_EQ(Count("state = recovered AND state = open"), 1u);
  shown = Get(id);
  EXPECT_EQ(shown.session().state(), api::v1::SESSION_STATE_RECOVERED);
  EXPECT_EQ(shown.state_changes_size(), 2);
  EXPECT_EQ(Events(shown),
            (std::vector<std::string>{
                "14 s session_degraded side=resident trouble=stalled",
                "20 s session_recovered"}));
  EXPECT_EQ(Count("event = session_degraded AND event = session_recovered"),
            1u);

  archive_->Close(id);
  EXPECT_EQ(Get(id).session().state(), api::v1::SESSION_STATE_CLOSED);
  EXPECT_EQ(Count("state = recovered OR state = open"), 0u);
}

TEST_F(ContinuityTest, AClockThatJumpedIsShownAndFound) {
  const base::Uuid id = archive_->Open(kStart_us);
  stored::v1::ClockChanged changed;
  changed.set_side(SIDE_CLERK);
  changed.set_track_id(3);
  changed.set_offset_us(40'000);
  changed.set_rate_ppb(200'000);
  changed.set_reason(stored::v1::CLOCK_REASON_PLACED);
  changed.set_first_sequence(1);
  archive_->ClockChanged(id, changed);
  EXPECT_EQ(Count("event = clock_jumped"), 0u);
  // After 100 s at +200 ppm the offset was 60 ms; the clock leaps by 2 s.
  changed.set_raw_from_us(100 * kSecond_us);
  changed.set_at_us(98 * kSecond_us);
  changed.set_offset_us(60'000 - 2 * kSecond_us);
  changed.set_reason(stored::v1::CLOCK_REASON_JUMP);
  changed.set_residual_us(-5);
  changed.set_first_sequence(900);
  archive_->ClockChanged(id, changed);
  // Again, as after a crash before the packet that it begins with.
  archive_->ClockChanged(id, changed);
  const api::v1::GetSessionResponse shown = Get(id);
  ASSERT_EQ(shown.clock_changes_size(), 2);
  EXPECT_EQ(shown.clock_changes(0).reason(),
            api::v1::ClockChange::REASON_PLACED);
  const api::v1::ClockChange& jump = shown.clock_changes(1);
  EXPECT_EQ(jump.reason(), api::v1::ClockChange::REASON_JUMP);
  EXPECT_EQ(jump.side(), api::v1::SIDE_CLERK);
  EXPECT_EQ(jump.track_id(), 3u);
  EXPECT_EQ(jump.at_us(), 98 * kSecond_us);
  EXPECT_EQ(jump.raw_from_us(), 100 * kSecond_us);
  EXPECT_EQ(jump.offset_us(), 60'000 - 2 * kSecond_us);
  EXPECT_EQ(jump.rate_ppb(), 200'000);
  EXPECT_EQ(jump.residual_us(), -5);
  EXPECT_EQ(Events(shown),
            (std::vector<std::string>{"98 s clock_jumped track=3 by_ms=2000"}));
  EXPECT_EQ(Count("event = clock_jumped"), 1u);
}

TEST_F(ContinuityTest, EveryGapIsListedOnce) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Chunk(id, 0, kSecond_us, {SIDE_RESIDENT});
  // The clerk joins late; a track of the resident was silent meanwhile.
  archive_->Chunk(id, 30 * kSecond_us, 31 * kSecond_us,
                  {SIDE_RESIDENT, SIDE_CLERK},
                  {MakeGap(SIDE_CLERK, 0, 0, 30 * kSecond_us),
                   MakeGap(SIDE_RESIDENT, 2, 5 * kSecond_us, 9 * kSecond_us)});
  archive_->Chunk(id, 40 * kSecond_us, 50 * kSecond_us, {SIDE_RESIDENT});
  archive_->Manifest(id);
  archive_->Close(id, stored::v1::CLOSE_REASON_CLOSED,
                  {MakeGap(SIDE_CLERK, 0, 31 * kSecond_us, 50 * kSecond_us),
                   MakeGap(SIDE_CLERK, 4, 10 * kSecond_us, 31 * kSecond_us)});
  const api::v1::GetSessionResponse shown = Get(id);
  EXPECT_EQ(Gaps(shown),
            (std::vector<std::string>{"clerk 0 0-30", "resident 2 5-9",
                                      "clerk 4 10-31", "clerk 0 31-50"}));
  EXPECT_EQ(Events(shown),
            (std::vector<std::string>{"5 s silence track=2 seconds=4.000",
                                      "10 s silence track=4 seconds=21.000"}));
  EXPECT_EQ(Count("event = silence"), 1u);
}

TEST_F(ContinuityTest, AGapThatNothingTellsOfIsFoundAllTheSame) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Chunk(id, 5 * kSecond_us, 10 * kSecond_us, {SIDE_CLERK});
  archive_->Chunk(id, 10 * kSecond_us, 20 * kSecond_us, {SIDE_RESIDENT});
  archive_->Manifest(id);
  EXPECT_EQ(Gaps(Get(id)),
            (std::vector<std::string>{"resident 0 0-10", "clerk 0 0-5"}));
  archive_->Close(id, stored::v1::CLOSE_REASON_ABANDONED);
  EXPECT_EQ(Gaps(Get(id)),
            (std::vector<std::string>{"resident 0 0-10", "clerk 0 0-5",
                                      "clerk 0 10-20"}));
}

TEST_F(ContinuityTest, AnAnnouncedSessionIsNotForgotten) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "ticket", {"A052"}, 0);
  archive_->Tag(id, "item", {"passport"}, 0);
  const std::vector<std::string> only = {id.ToString()};
  const auto is_found = [&](api::v1::SessionState state, int tags) {
    EXPECT_EQ(List("ticket = A052"), only);
    EXPECT_EQ(List("item = passport AND NOT outcome:*"), only);
    EXPECT_EQ(Count("ticket = A052"), 1u);
    EXPECT_TRUE(ListSegments("ticket = A052").empty());
    const api::v1::GetSessionResponse shown = Get(id);
    EXPECT_EQ(shown.session().state(), state);
    EXPECT_EQ(shown.session().tags_size(), tags);
    EXPECT_EQ(shown.session().segments(), 0u);
    EXPECT_EQ(shown.session().sides_size(), 0);
    EXPECT_TRUE(shown.gaps().empty());
  };
  is_found(api::v1::SESSION_STATE_OPEN, 2);
  // One of the archive's own events is a tag like a gateway's.
  Degrade(id, 5 * kSecond_us);
  is_found(api::v1::SESSION_STATE_DEGRADED, 3);
  archive_->Close(id, stored::v1::CLOSE_REASON_ABANDONED);
  is_found(api::v1::SESSION_STATE_ABANDONED, 3);
}

TEST_F(ContinuityTest, ASegmentSaysThatItBeginsWithoutAKeyFrame) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Segment(id, 0, 10 * kSecond_us);
  archive_->Chunk(id, 10 * kSecond_us, 20 * kSecond_us);
  archive_->Manifest(id, {1, 3});
  api::v1::ListSegmentsRequest request;
  request.set_oldest_first(true);
  const auto page = catalog_->ListSegments(request, caller_).value();
  ASSERT_EQ(page.segments_size(), 2);
  EXPECT_TRUE(page.segments(0).tracks_without_key_frame().empty());
  ASSERT_EQ(page.segments(1).tracks_without_key_frame_size(), 2);
  EXPECT_EQ(page.segments(1).tracks_without_key_frame(1), 3u);
}

TEST_F(ContinuityTest, WhatComesLateIsFoundAtItsOwnTime) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "item", {"1"}, 0);
  archive_->Tag(id, "item", {"2"}, 60 * kSecond_us);
  const auto segment = [&](int64_t from_s, int64_t to_s,
                           stored::v1::Side side) {
    archive_->Chunk(id, from_s * kSecond_us, to_s * kSecond_us, {side});
    archive_->Manifest(id);
  };
  for (int i = 0; i < 6; ++i) segment(i * 10, (i + 1) * 10, SIDE_RESIDENT);
  // 60 s of the clerk's drain while the resident goes on.
  for (int i = 0; i < 60; ++i) {
    segment(60 + i, 61 + i, SIDE_RESIDENT);
    segment(i, i + 1, SIDE_CLERK);
    // The index sees it grow.
    if (i % 20 == 0) EXPECT_EQ(Count("item = 2"), 1u);
  }
  EXPECT_EQ(ListSegments("item = 1").size(), 66u);
  EXPECT_EQ(ListSegments("item = 2").size(), 60u);
  EXPECT_EQ(catalog_->GetIndexStatus().segments(), 126u);
  const IndexView view(store_.get(), &archive_->index_keys());
  const auto number = view.FindNumber(id);
  ASSERT_TRUE(number.ok() && number->has_value());
  const auto run = view.Run(**number, 2);
  EXPECT_FALSE(run.value().has_value()) << "two runs are enough";

  // In order of time, whatever a page holds, and both ways the same.
  const std::vector<std::string> oldest = ListSegments("", 0, true);
  ASSERT_EQ(oldest.size(), 126u);
  EXPECT_EQ(oldest[0], absl::StrCat(id.ToString(), " 0"));
  EXPECT_EQ(oldest[1], absl::StrCat(id.ToString(), " 7"));
  EXPECT_EQ(oldest.back(), absl::StrCat(id.ToString(), " 124"));
  std::vector<std::string> newest = ListSegments("");
  EXPECT_EQ(ListSegments("", 7), newest);
  EXPECT_EQ(ListSegments("", 1, true), oldest);
  std::reverse(newest.begin(), newest.end());
  EXPECT_EQ(newest, oldest);
}

}  // namespace
}  // namespace diptych::indexer
