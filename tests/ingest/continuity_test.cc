#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_registry.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/ingest/ingest_fixture.h"

// What goes on across breaks: backfill, sides that change hands, tracks and
// clocks that change.

namespace diptych::ingest {
namespace {

using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;
using log::RecordType;
using testing::ElementsAre;
using testing::SizeIs;

class ContinuityTest : public SessionRegistryTest {
 protected:
  std::vector<stored::v1::Chunk> Chunks() const {
    return Headers<stored::v1::Chunk>(RecordType::kChunk);
  }
  static api::v1::OpenSide Tracks(uint32_t channels) {
    api::v1::OpenSide side;
    side.set_side(SIDE_CLERK);
    *side.add_tracks() = MakeTrack(SIDE_CLERK, SIDE_CLERK);
    side.mutable_tracks(0)->set_channels(channels);
    return side;
  }
  void Close(Session* session, const std::shared_ptr<FakeSink>& sink,
             const std::map<api::v1::Side, uint64_t>& finals,
             const std::map<api::v1::Side, uint64_t>& notes = {}) {
    const absl::Status closed =
        session->OnClose(sink, MakeClose(finals, notes), {});
    ASSERT_TRUE(closed.ok()) << closed;
    sink->WaitReceipt();
  }
  api::v1::Notes MakeAnchor(uint64_t number, int64_t media_us,
                            int64_t wall_us) const {
    api::v1::Notes notes;
    notes.set_side(SIDE_CLERK);
    api::v1::Note* note = notes.add_notes();
    note->set_note_sequence(number);
    api::v1::ClockAnchor* anchor = note->mutable_clock_anchor();
    anchor->set_track_id(SIDE_CLERK);
    anchor->set_media_us(media_us);
    anchor->set_source("ntp");
    anchor->mutable_wall_time()->set_seconds(kStart_s + wall_us / 1'000'000);
    anchor->mutable_wall_time()->set_nanos(
        static_cast<int32_t>(wall_us % 1'000'000 * 1000));
    return notes;
  }
  static constexpr int64_t kStart_s = 1'800'000'000;
};

TEST_F(ContinuityTest, ASpoolThatDrainsLateBecomesBackfillOfItsOwnTime) {
  const auto resident = std::make_shared<FakeSink>();
  const auto clerk = std::make_shared<FakeSink>();
  const auto session = Open(resident, {SIDE_RESIDENT});
  ASSERT_EQ(Open(clerk, {SIDE_CLERK}), session);
  ASSERT_TRUE(
      session->OnNotes(resident, MakeTag(SIDE_RESIDENT, 1, 0, "item", "0417"))
          .ok());
  ASSERT_TRUE(session
                  ->OnNotes(resident, MakeTag(SIDE_RESIDENT, 2, 30'500'000,
                                              "item", "0099"))
                  .ok());
  // The clerk's line is cut after 5 s; the resident goes on for a minute.
  Send(session.get(), clerk, SIDE_CLERK, 1, 250);
  session->Detach(clerk, std::nullopt);
  for (uint64_t second = 0; second < 60; ++second) {
    Send(session.get(), resident, SIDE_RESIDENT, second * 50 + 1,
         second * 50 + 50);
    clock_.Advance(absl::Seconds(1));
    session->Tick();
  }
  // Then everything comes at once, while the resident goes on.
  const auto back = std::make_shared<FakeSink>();
  ASSERT_EQ(Open(back, {SIDE_CLERK}), session);
  EXPECT_EQ(last_opened_.progress(0).sequence(), 250u);
  for (uint64_t i = 0; i < 11; ++i) {
    Send(session.get(), back, SIDE_CLERK, 251 + i * 250, 500 + i * 250);
    Send(session.get(), resident, SIDE_RESIDENT, 3001 + i * 25, 3025 + i * 25);
    clock_.Advance(absl::Milliseconds(500));
    session->Tick();
  }
  ASSERT_TRUE(session->OnClose(back, MakeClose({{SIDE_CLERK, 3000}}), {}).ok());
  Close(session.get(), resident, {{SIDE_RESIDENT, 3275}}, {{SIDE_RESIDENT, 2}});
  ExpectArchived(SIDE_CLERK, 3000);
  ExpectArchived(SIDE_RESIDENT, 3275);

  bool backfill = false;
  int64_t reached_us = 0;
  std::map<uint32_t, std::vector<stored::v1::Chunk>> by_segment;
  for (const stored::v1::Chunk& chunk : Chunks()) {
    by_segment[chunk.segment()].push_back(chunk);
    EXPECT_LE(chunk.window_end_us() - chunk.window_start_us(),
              limits::kChunkMax_us);
    // A chunk says the time that it is of, not the time at which it came.
    EXPECT_GE(chunk.start_us(), chunk.window_start_us());
    backfill = backfill || chunk.window_end_us() < reached_us - 20'000'000;
    reached_us = std::max(reached_us, chunk.window_end_us());
    // No chunk reaches across a change of tags.
    EXPECT_TRUE(chunk.window_end_us() <= 30'500'000 ||
                chunk.window_start_us() >= 30'500'000)
        << chunk.window_start_us() << " to " << chunk.window_end_us();
    // The clerk has no gap: it all came in the end.
    for (const stored::v1::Gap& gap : chunk.gaps()) {
      ADD_FAILURE() << gap.ShortDebugString();
    }
  }
  EXPECT_TRUE(backfill);
  for (const auto& [segment, chunks] : by_segment) {
    int64_t start_us = INT64_MAX;
    int64_t end_us = INT64_MIN;
    for (const stored::v1::Chunk& chunk : chunks) {
      start_us = std::min(start_us, chunk.window_start_us());
      end_us = std::max(end_us, chunk.window_end_us());
    }
    EXPECT_LE(end_us - start_us,
              limits::kSegmentMax_us + limits::kReorderWindow_us);
  }
}

TEST_F(ContinuityTest, WhenAStreamIsOpenedAgainItIsToldOfEverythingThatCame) {
  const auto old_sink = std::make_shared<FakeSink>();
  const auto session = Open(old_sink, {SIDE_RESIDENT, SIDE_CLERK});
  // Half a second, of which nothing is due yet.
  Send(session.get(), old_sink, SIDE_CLERK, 1, 25);
  EXPECT_EQ(old_sink->durable(SIDE_CLERK), 0u);
  const auto new_sink = std::make_shared<FakeSink>();
  Open(new_sink, {SIDE_RESIDENT, SIDE_CLERK});
  for (const api::v1::SideProgress& progress : last_opened_.progress()) {
    EXPECT_EQ(progress.sequence(), progress.side() == SIDE_CLERK ? 25u : 0u);
  }
  EXPECT_TRUE(last_opened_.resumed());
  EXPECT_TRUE(last_opened_.has_start_time());
}

TEST_F(ContinuityTest, AHandoverShowsWhatWasLostBetweenTheStreams) {
  const auto old_sink = std::make_shared<FakeSink>();
  const auto session = Open(old_sink, {SIDE_CLERK});
  // Still waiting for their chunk when the newer stream comes, 0.9 s later.
  Send(session.get(), old_sink, SIDE_CLERK, 1, 20);
  const auto new_sink = std::make_shared<FakeSink>();
  ASSERT_EQ(Open(new_sink, {SIDE_CLERK}), session);
  for (uint64_t i = 21; i <= 40; ++i) {
    api::v1::Packet packet = MakePacket(SIDE_CLERK, i);
    packet.set_pts_us(packet.pts_us() + 900'000);
    packet.set_dts_us(packet.pts_us());
    ASSERT_TRUE(session->OnPacket(new_sink, packet).ok());
  }
  Close(session.get(), new_sink, {{SIDE_CLERK, 40}});
  std::vector<stored::v1::Gap> gaps;
  for (const stored::v1::Chunk& chunk : Chunks()) {
    gaps.insert(gaps.end(), chunk.gaps().begin(), chunk.gaps().end());
  }
  ASSERT_THAT(gaps, SizeIs(1));
  EXPECT_EQ(gaps[0].start_us(), 400'000);
  EXPECT_EQ(gaps[0].end_us(), 1'300'000);
}

TEST_F(ContinuityTest, OneSideOfAStreamTakenOverLeavesTheOtherUntouched) {
  const auto both = std::make_shared<FakeSink>();
  const auto session = Open(both, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), both, SIDE_RESIDENT, 1, 50);
  Send(session.get(), both, SIDE_CLERK, 1, 50);
  const auto clerk = std::make_shared<FakeSink>();
  ASSERT_EQ(Open(clerk, {SIDE_CLERK}), session);
  EXPECT_EQ(Reason(both->WaitSideFailed(SIDE_CLERK)), "TAKEN_OVER");
  EXPECT_THAT(session->SidesOf(both), ElementsAre(SIDE_RESIDENT));
  EXPECT_EQ(Reason(session->OnPacket(both, MakePacket(SIDE_CLERK, 51))),
            "TAKEN_OVER");
  Send(session.get(), both, SIDE_RESIDENT, 51, 100);
  Send(session.get(), clerk, SIDE_CLERK, 51, 100);
  ASSERT_TRUE(session
                  ->OnClose(both,
                            MakeClose({{SIDE_RESIDENT, 100}, {SIDE_CLERK, 50}}),
                            {SIDE_CLERK})
                  .ok());
  Close(session.get(), clerk, {{SIDE_CLERK, 100}});
  both->WaitReceipt();
  ExpectArchived(SIDE_RESIDENT, 100);
  ExpectArchived(SIDE_CLERK, 100);
}

TEST_F(ContinuityTest, TracksThatFlapUseTheSpansThatAreThere) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  std::set<uint32_t> of_mono;
  for (uint64_t i = 0; i < 40; ++i) {
    Send(session.get(), sink, SIDE_CLERK, i * 10 + 1, i * 10 + 10);
    ASSERT_TRUE(
        session->OnTracksChanged(sink, Tracks(i % 2 == 0 ? 2 : 1)).ok());
  }
  Close(session.get(), sink, {{SIDE_RESIDENT, 0}, {SIDE_CLERK, 400}});
  ExpectArchived(SIDE_CLERK, 400);
  EXPECT_THAT(Headers<stored::v1::SpanStarted>(RecordType::kSpanStarted),
              SizeIs(2));
  std::vector<uint32_t> spans;
  for (const stored::v1::Chunk& chunk : Chunks()) {
    spans.push_back(chunk.span());
  }
  ASSERT_THAT(spans, SizeIs(40));
  for (size_t i = 0; i < spans.size(); ++i) EXPECT_EQ(spans[i], i % 2);
}

TEST_F(ContinuityTest, AClockThatJumpsBackIsRecordedAndNothingIsLost) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 100);
  for (uint64_t i = 101; i <= 200; ++i) {
    api::v1::Packet packet = MakePacket(SIDE_CLERK, i);
    packet.set_pts_us(packet.pts_us() - 1'500'000);
    packet.set_dts_us(packet.pts_us());
    ASSERT_TRUE(session->OnPacket(sink, packet).ok());
  }
  Close(session.get(), sink, {{SIDE_RESIDENT, 0}, {SIDE_CLERK, 200}});
  const auto packets = ArchivedPackets(SIDE_CLERK);
  ASSERT_THAT(packets, SizeIs(200));
  for (size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(packets[i].pts_us, static_cast<int64_t>(i) * 20'000);
    // The gateway's own time is kept.
    EXPECT_EQ(packets[i].raw_offset_us, i < 100 ? 0 : -1'500'000);
  }
  const auto clocks =
      Headers<stored::v1::ClockChanged>(RecordType::kClockChanged);
  ASSERT_THAT(clocks, SizeIs(1));
  EXPECT_EQ(clocks[0].reason(), stored::v1::CLOCK_REASON_JUMP);
  EXPECT_EQ(clocks[0].first_sequence(), 101u);
  EXPECT_EQ(clocks[0].at_us(), 2'000'000);
  // A span of its own.
  EXPECT_THAT(Headers<stored::v1::SpanStarted>(RecordType::kSpanStarted),
              SizeIs(2));
}

TEST_F(ContinuityTest, AMappingOutlivesTheWriterOnlyWithItsPackets) {
  {
    const auto sink = std::make_shared<FakeSink>();
    const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
    // Counts from 0 although it is 100 s into the session.
    ASSERT_TRUE(session->OnNotes(sink, MakeAnchor(1, 0, 100'000'000)).ok());
    Send(session.get(), sink, SIDE_CLERK, 1, 100);
    session->Detach(sink, std::nullopt);
    ASSERT_TRUE(committer_->SubmitAndWait({}).ok());
  }
  StopWriter();
  StartWriter();
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 101, 150);
  Close(session.get(), sink, {{SIDE_RESIDENT, 0}, {SIDE_CLERK, 150}},
        {{SIDE_CLERK, 1}});
  const auto packets = ArchivedPackets(SIDE_CLERK);
  ASSERT_THAT(packets, SizeIs(150));
  for (size_t i = 0; i < 150; ++i) {
    EXPECT_EQ(packets[i].pts_us,
              100'000'000 + static_cast<int64_t>(i) * 20'000);
  }
}

TEST_F(ContinuityTest, ASegmentSaysWhichVideoBeginsWithoutAKeyFrame) {
  const auto sink = std::make_shared<FakeSink>();
  api::v1::Open open = MakeOpen({SIDE_RESIDENT});
  api::v1::Track* track = open.mutable_sides(0)->mutable_tracks(0);
  track->set_source(api::v1::SOURCE_CAMERA);
  track->set_codec(api::v1::CODEC_VP8);
  track->set_width(640);
  track->set_height(360);
  track->clear_sample_rate_hz();
  track->clear_channels();
  auto opened = registry_->Open(sink, open, "gateway");
  ASSERT_TRUE(opened.ok()) << opened.status();
  const auto session = std::get<std::shared_ptr<Session>>(*opened);
  sink->WaitOpened();
  // 25 s at 10 pictures a second; key frames at 0 and 12 s.
  for (uint64_t i = 0; i < 250; ++i) {
    api::v1::Packet packet;
    packet.set_track_id(SIDE_RESIDENT);
    packet.set_sequence(i + 1);
    packet.set_pts_us(static_cast<int64_t>(i) * 100'000);
    packet.set_dts_us(packet.pts_us());
    packet.set_duration_us(100'000);
    packet.set_key_frame(i == 0 || i == 120);
    // A frame header's first bit says whether it is a key frame.
    std::string payload(50, 'v');
    payload[0] = packet.key_frame() ? 0x10 : 0x11;
    if (packet.key_frame()) payload.replace(3, 3, "\x9d\x01\x2a");
    packet.set_payload(payload);
    const absl::Status status = session->OnPacket(sink, packet);
    ASSERT_TRUE(status.ok()) << status;
  }
  Close(session.get(), sink, {{SIDE_RESIDENT, 250}});
  const auto segments = Headers<stored::v1::Segment>(RecordType::kSegment);
  ASSERT_THAT(segments, SizeIs(3));
  EXPECT_EQ(segments[0].tracks_without_key_frame_size(), 0);
  EXPECT_THAT(segments[1].tracks_without_key_frame(), ElementsAre(1u));
  EXPECT_THAT(segments[2].tracks_without_key_frame(), ElementsAre(1u));
  // The gateway was asked for one while the picture went on without.
  EXPECT_GE(sink->Count(api::v1::RecordResponse::kKeyframeWanted), 1u);
}

}  // namespace
}  // namespace diptych::ingest
