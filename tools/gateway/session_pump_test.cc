#include "tools/gateway/session_pump.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/gateway_session.h"
#include "tools/gateway/media_source.h"

namespace diptych::gateway {
namespace {

using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;

class FakeSource : public MediaSource {
 public:
  const std::vector<api::v1::Track>& tracks() const override { return tracks_; }
  int64_t earliest_pts_us() const override { return earliest_us; }
  bool live() const override { return is_live; }
  absl::Time zero_arrival() const override { return arrival; }
  int64_t duration_us() const override { return 0; }
  std::optional<SourceItem> Next() override {
    if (items.empty()) return std::nullopt;
    SourceItem item = std::move(items.front());
    items.pop_front();
    return item;
  }
  const std::vector<SourceProblem>& problems() const override {
    return problems_;
  }
  uint64_t unreadable_packets() const override { return 0; }

  void Add(uint32_t track, int64_t dts_us, int64_t pts_us) {
    api::v1::Packet packet;
    packet.set_track_id(track);
    packet.set_dts_us(dts_us);
    packet.set_pts_us(pts_us);
    packet.set_payload("x");
    items.push_back(packet);
  }

  // Of which the sender said when it was.
  void AddReported(uint32_t track, int64_t pts_us, absl::Time wall) {
    items.push_back(SenderTime{.wall = wall});
    Add(track, pts_us, pts_us);
  }

  std::deque<SourceItem> items;
  int64_t earliest_us = 0;
  bool is_live = false;
  absl::Time arrival;

 private:
  std::vector<api::v1::Track> tracks_;
  std::vector<SourceProblem> problems_;
};

// Writes down what it is told: "p1@0" a packet of track 1 at 0 ms, "r1@0" what
// a sender's clock showed then, "item@5" a tag, "part0" an attachment's, "t"
// tracks.
class FakeSession : public GatewaySession {
 public:
  absl::Status WaitUntilOpen() override { return absl::OkStatus(); }
  absl::Status WaitUntilOpen(absl::Duration) override {
    return absl::OkStatus();
  }
  absl::Status WaitForRoom(api::v1::Side side, absl::Duration) override {
    if (side == refused_side) return absl::InvalidArgumentError("refused");
    return absl::OkStatus();
  }
  SessionCounters counters() const override { return {}; }
  absl::Status SendPacket(api::v1::Side side, api::v1::Packet packet) override {
    if (side == refused_side) return absl::InvalidArgumentError("refused");
    Say("p" + std::to_string(packet.track_id()) + "@" +
        std::to_string(packet.pts_us() / 1000));
    return absl::OkStatus();
  }
  absl::Status SendNote(api::v1::Side, api::v1::Note note) override {
    if (note.has_clock_anchor()) {
      if (note.clock_anchor().source() == "rtcp") {
        Say("r" + std::to_string(note.clock_anchor().track_id()) + "@" +
            std::to_string(note.clock_anchor().media_us() / 1000));
      }
      anchors.push_back(note.clock_anchor());
    } else if (note.has_tag()) {
      Say(note.tag().key() + "@" + std::to_string(note.at_us() / 1000));
    } else if (note.has_event()) {
      Say(note.event().type() + "@" + std::to_string(note.at_us() / 1000));
    } else {
      Say("part" + std::to_string(note.attachment_part().offset()) + "+" +
          std::to_string(note.attachment_part().data().size()));
    }
    return absl::OkStatus();
  }
  absl::Status ChangeTracks(api::v1::Side,
                            const std::vector<api::v1::Track>&) override {
    Say("t");
    return absl::OkStatus();
  }
  absl::StatusOr<api::v1::Receipt> Close(absl::Duration) override {
    return api::v1::Receipt();
  }
  void Abort() override {}
  absl::Status side_status(api::v1::Side) const override {
    return absl::OkStatus();
  }
  api::v1::SideProgress durable(api::v1::Side) const override { return {}; }

  std::string said;
  std::vector<api::v1::ClockAnchor> anchors;
  api::v1::Side refused_side = api::v1::SIDE_UNSPECIFIED;

 private:
  void Say(const std::string& word) {
    said += (said.empty() ? "" : " ") + word;
  }
};

PumpNote Tag(const std::string& key, int64_t at_us) {
  PumpNote note;
  note.note.set_at_us(at_us);
  note.note.mutable_tag()->set_key(key);
  return note;
}

class SessionPumpTest : public testing::Test {
 protected:
  SessionPumpTest() {
    options_.inputs = {{.side = SIDE_RESIDENT, .source = &resident_},
                       {.side = SIDE_CLERK, .source = &clerk_}};
    options_.paced = false;
    options_.start_time = absl::FromUnixMillis(1'700'000'000'500);
  }

  FakeSource resident_;
  FakeSource clerk_;
  FakeSession session_;
  PumpOptions options_;
};

TEST_F(SessionPumpTest, InterleavesByDecodeTime) {
  resident_.Add(1, 0, 0);
  resident_.Add(1, 40'000, 120'000);
  resident_.Add(1, 80'000, 80'000);
  clerk_.Add(9, 20'000, 20'000);
  clerk_.Add(9, 60'000, 60'000);
  const PumpResult result = RunPump(options_, &session_);
  EXPECT_EQ(session_.said, "p1@0 p9@20 p1@120 p9@60 p1@80");
  EXPECT_EQ(result.sides[0].packets, 3u);
  EXPECT_EQ(result.sides[1].packets, 2u);
  EXPECT_EQ(result.sides[1].payload_bytes, 2u);
}

TEST_F(SessionPumpTest, NotesComeAtTheirTimesAndAttachmentsInParts) {
  resident_.Add(1, 0, 0);
  resident_.Add(1, 2'000'000, 2'000'000);
  PumpNote event;
  event.note.set_at_us(1'000'000);
  event.note.mutable_event()->set_type("seen");
  event.note.mutable_event()->set_attachment_id(1);
  event.attachment = std::string(limits::kPushAttachmentPart_bytes + 7, 'x');
  options_.notes = {Tag("item", 0), event, Tag("clerk", 9'000'000)};
  const PumpResult result = RunPump(options_, &session_);
  EXPECT_TRUE(result.notes.ok());
  EXPECT_EQ(session_.said,
            "item@0 p1@0 seen@1000 part0+262144 part262144+7 p1@2000 "
            "clerk@9000");
}

TEST_F(SessionPumpTest, EachTrackHasOneAnchor) {
  resident_.Add(1, 0, 0);
  resident_.Add(2, 250'000, 250'000);
  resident_.Add(1, 300'000, 300'000);
  RunPump(options_, &session_);
  ASSERT_EQ(session_.anchors.size(), 2u);
  EXPECT_EQ(session_.anchors[1].track_id(), 2u);
  EXPECT_EQ(session_.anchors[1].media_us(), 250'000);
  EXPECT_EQ(session_.anchors[1].wall_time().seconds(), 1'700'000'000);
  EXPECT_EQ(session_.anchors[1].wall_time().nanos(), 750'000'000);
  EXPECT_EQ(session_.anchors[1].source(), "file");
}

TEST_F(SessionPumpTest, TracksChangeBeforeTheirPacket) {
  resident_.Add(1, 0, 0);
  resident_.items.push_back(std::vector<api::v1::Track>(1));
  resident_.Add(1, 80'000, 80'000);
  clerk_.Add(9, 40'000, 40'000);
  RunPump(options_, &session_);
  EXPECT_EQ(session_.said, "p1@0 t p9@40 p1@80");
}

TEST_F(SessionPumpTest, LeavesOutWhatTheArchiveWouldRefuse) {
  resident_.Add(1, -100'000, -50'000);
  resident_.Add(1, 0, limits::kMaxReorder_us + 1);
  resident_.Add(1, 0, 0);
  const PumpResult result = RunPump(options_, &session_);
  EXPECT_EQ(session_.said, "p1@0");
  EXPECT_EQ(result.sides[0].left_out, 2u);
  EXPECT_EQ(result.sides[0].problems.size(), 2u);
}

TEST_F(SessionPumpTest, ALiveClockThatJumpsIsToldBeforeThePacketThatJumped) {
  resident_.is_live = true;
  options_.start_time = absl::Now();
  resident_.Add(1, 0, 0);
  resident_.Add(1, 20'000, 20'000);
  // Ahead by far more than what can have passed.
  resident_.Add(1, 60'000'000, 60'000'000);
  // And back.
  resident_.Add(1, 40'000, 40'000);
  RunPump(options_, &session_);
  EXPECT_EQ(session_.said, "p1@0 p1@20 p1@60000 p1@40");
  ASSERT_EQ(session_.anchors.size(), 3u);
  EXPECT_EQ(session_.anchors[0].media_us(), 0);
  EXPECT_EQ(session_.anchors[1].media_us(), 60'000'000);
  EXPECT_EQ(session_.anchors[2].media_us(), 40'000);
  for (const auto& anchor : session_.anchors) {
    EXPECT_EQ(anchor.source(), "arrival");
    // All of it arrived within this test.
    EXPECT_NEAR(anchor.wall_time().seconds(),
                absl::ToUnixSeconds(options_.start_time), 20);
  }
}

TEST_F(SessionPumpTest, WhatSendersReportIsToldBeforeThePacketAndTakesOver) {
  resident_.is_live = true;
  options_.start_time = absl::Now();
  const absl::Time sender = absl::FromUnixSeconds(1'600'000'000);
  const auto at = [&](int64_t ms) { return sender + absl::Milliseconds(ms); };
  resident_.Add(1, 0, 0);
  resident_.AddReported(1, 20'000, at(20));
  // It goes on as it was: nothing to tell.
  resident_.AddReported(1, 40'000, at(40));
  // It moved, but so soon that it waits.
  resident_.AddReported(1, 60'000, at(65));
  // The media clock jumped, forward and back.
  resident_.AddReported(1, 9'000'000, at(85));
  resident_.AddReported(1, 1'000'000, at(105));
  // Nothing is told by arrival any more, however late it is.
  resident_.Add(1, 90'000'000, 90'000'000);
  // Each track has its own.
  resident_.AddReported(2, 90'000'000, at(125));
  RunPump(options_, &session_);
  EXPECT_EQ(session_.said,
            "p1@0 r1@20 p1@20 p1@40 p1@60 r1@9000 p1@9000 r1@1000 p1@1000 "
            "p1@90000 r2@90000 p2@90000");
  ASSERT_EQ(session_.anchors.size(), 5u);
  EXPECT_EQ(session_.anchors[0].source(), "arrival");
  EXPECT_EQ(session_.anchors[1].wall_time().seconds(), 1'600'000'000);
  EXPECT_EQ(session_.anchors[1].wall_time().nanos(), 20'000'000);
  EXPECT_EQ(session_.anchors[1].uncertainty_us(), 5'000u);
}

TEST_F(SessionPumpTest, ASendersAnchorHasTheTimesThatAreSent) {
  resident_.is_live = true;
  options_.start_time = absl::Now();
  options_.inputs[0].shift_us = 700'000;
  resident_.AddReported(1, 20'000, options_.start_time);
  RunPump(options_, &session_);
  EXPECT_EQ(session_.said, "r1@720 p1@720");
}

TEST_F(SessionPumpTest, ALivePacketBeforeTimeZeroIsMovedAndNotDropped) {
  resident_.is_live = true;
  options_.start_time = absl::Now() - absl::Seconds(100);
  resident_.Add(1, 100'000'000, 100'000'000);
  resident_.Add(1, -50'000'000, -50'000'000);
  const PumpResult result = RunPump(options_, &session_);
  EXPECT_EQ(result.sides[0].left_out, 0u);
  EXPECT_EQ(result.sides[0].packets, 2u);
}

TEST_F(SessionPumpTest, ARefusedSideEndsAlone) {
  session_.refused_side = SIDE_CLERK;
  resident_.Add(1, 0, 0);
  resident_.Add(1, 40'000, 40'000);
  clerk_.Add(9, 0, 0);
  clerk_.Add(9, 20'000, 20'000);
  const PumpResult result = RunPump(options_, &session_);
  EXPECT_EQ(session_.said, "p1@0 p1@40");
  EXPECT_TRUE(result.sides[0].refused.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(result.sides[1].refused));
}

TEST_F(SessionPumpTest, PacesInRealTime) {
  options_.paced = true;
  resident_.Add(1, 0, 0);
  resident_.Add(1, 120'000, 120'000);
  const absl::Time began = absl::Now();
  RunPump(options_, &session_);
  EXPECT_GE(absl::Now() - began, absl::Milliseconds(119));
}

TEST_F(SessionPumpTest, StopsWhenTold) {
  const std::atomic<bool> stop = true;
  options_.stop = &stop;
  resident_.Add(1, 0, 0);
  RunPump(options_, &session_);
  EXPECT_EQ(session_.said, "");
}

TEST(PlaceInputsTest, FilesKeepTheirAlignment) {
  FakeSource resident;
  FakeSource clerk;
  resident.earliest_us = 400'000;
  EXPECT_EQ(PlaceInputs({&resident, &clerk}), (std::vector<int64_t>{0, 0}));
  clerk.earliest_us = -7'000;
  EXPECT_EQ(PlaceInputs({&resident, &clerk}),
            (std::vector<int64_t>{7'000, 7'000}));
}

TEST(PlaceInputsTest, LiveInputsLieWhereTheyArrived) {
  FakeSource resident;
  FakeSource clerk;
  resident.is_live = clerk.is_live = true;
  resident.arrival = absl::FromUnixMillis(2'000);
  clerk.arrival = absl::FromUnixMillis(1'300);
  EXPECT_EQ(PlaceInputs({&resident, &clerk}),
            (std::vector<int64_t>{700'000, 0}));
}

}  // namespace
}  // namespace diptych::gateway
