#include "archiver/ingest/session.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/evidence/digest.h"
#include "archiver/ingest/session_registry.h"
#include "archiver/log/record.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/ingest/ingest_fixture.h"

namespace diptych::ingest {
namespace {

using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;
using log::RecordType;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(SessionRegistryTest, BothSidesGoInAndEveryPacketIsArchivedOnce) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  // 25 s of both, one side always ahead.
  for (uint64_t i = 0; i < 25; ++i) {
    Send(session.get(), sink, SIDE_RESIDENT, i * 50 + 1, i * 50 + 50);
    Send(session.get(), sink, SIDE_CLERK, i * 50 + 1, i * 50 + 50);
  }
  ASSERT_TRUE(
      session
          ->OnClose(sink,
                    MakeClose({{SIDE_RESIDENT, 1250}, {SIDE_CLERK, 1250}}), {})
          .ok());
  const api::v1::Receipt receipt = sink->WaitReceipt();
  EXPECT_TRUE(sink->WaitFinished().ok());
  EXPECT_EQ(receipt.session_id(), id_.ToString());
  ASSERT_EQ(receipt.sides_size(), 2);
  EXPECT_EQ(receipt.sides(0).packets(), 1250u);
  EXPECT_EQ(receipt.sides(1).payload_bytes(), 1250u * 160);
  EXPECT_EQ(receipt.segments(), 3u);
  EXPECT_EQ(sink->durable(SIDE_RESIDENT), 1250u);
  ExpectArchived(SIDE_RESIDENT, 1250);
  ExpectArchived(SIDE_CLERK, 1250);

  // Chunks of a second, segments of ten, each manifest naming the one before.
  const auto chunks = Headers<stored::v1::Chunk>(RecordType::kChunk);
  for (const stored::v1::Chunk& chunk : chunks) {
    EXPECT_LE(chunk.window_end_us() - chunk.window_start_us(),
              limits::kChunkMax_us);
    EXPECT_THAT(chunk.gaps(), IsEmpty());
  }
  const auto segments = Headers<stored::v1::Segment>(RecordType::kSegment);
  ASSERT_THAT(segments, SizeIs(3));
  std::string previous;
  size_t covered = 0;
  for (const stored::v1::Segment& segment : segments) {
    EXPECT_LE(segment.window_end_us() - segment.window_start_us(),
              limits::kSegmentMax_us);
    EXPECT_EQ(segment.previous_manifest_sha256(), previous);
    previous = evidence::ManifestHash(segment.SerializeAsString());
    covered += segment.chunks_size();
  }
  EXPECT_EQ(covered, chunks.size());
  EXPECT_EQ(receipt.manifest_sha256(), previous);

  // Whoever asks again gets the same receipt.
  const auto again = registry_->Open(std::make_shared<FakeSink>(),
                                     MakeOpen({SIDE_CLERK}), "gateway");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(std::get<api::v1::Receipt>(*again).SerializeAsString(),
            receipt.SerializeAsString());
}

TEST_F(SessionRegistryTest, ASideThatWaitsForTheOtherGoesOutAfterTheWindow) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_RESIDENT, 1, 100);
  EXPECT_EQ(sink->durable(SIDE_RESIDENT), 0u);
  clock_.Advance(absl::Microseconds(limits::kReorderWindow_us));
  session->Tick();
  sink->WaitDurable(SIDE_RESIDENT, 100);
}

TEST_F(SessionRegistryTest, AfterACrashTheSessionGoesOnWithoutLossOrDouble) {
  {
    const auto sink = std::make_shared<FakeSink>();
    const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
    EXPECT_FALSE(last_opened_.resumed());
    ASSERT_TRUE(
        session->OnNotes(sink, MakeTag(SIDE_CLERK, 1, 0, "item", "0417")).ok());
    Send(session.get(), sink, SIDE_RESIDENT, 1, 300);
    Send(session.get(), sink, SIDE_CLERK, 1, 260);
    sink->WaitNotesDurable(SIDE_CLERK, 1);
    sink->WaitDurable(SIDE_RESIDENT, 200);
  }
  StopWriter();
  StartWriter();
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  EXPECT_TRUE(last_opened_.resumed());
  std::map<api::v1::Side, uint64_t> durable;
  for (const api::v1::SideProgress& progress : last_opened_.progress()) {
    durable[progress.side()] = progress.sequence();
    if (progress.side() == SIDE_CLERK) EXPECT_EQ(progress.note_sequence(), 1u);
  }
  EXPECT_GE(durable[SIDE_RESIDENT], 200u);
  // A gateway that goes back further than it was told does no harm.
  Send(session.get(), sink, SIDE_RESIDENT, 1, 400);
  Send(session.get(), sink, SIDE_CLERK, durable[SIDE_CLERK] + 1, 400);
  ASSERT_TRUE(session
                  ->OnClose(sink,
                            MakeClose({{SIDE_RESIDENT, 400}, {SIDE_CLERK, 400}},
                                      {{SIDE_CLERK, 1}}),
                            {})
                  .ok());
  const api::v1::Receipt receipt = sink->WaitReceipt();
  EXPECT_EQ(receipt.sides(0).packets(), 400u);
  ExpectArchived(SIDE_RESIDENT, 400);
  ExpectArchived(SIDE_CLERK, 400);
  // The chunks before the crash have their manifest too, and the chain holds.
  std::string previous;
  size_t covered = 0;
  bool recovered = false;
  for (const auto& segment :
       Headers<stored::v1::Segment>(RecordType::kSegment)) {
    EXPECT_EQ(segment.previous_manifest_sha256(), previous);
    previous = evidence::ManifestHash(segment.SerializeAsString());
    covered += segment.chunks_size();
    recovered = recovered || segment.recovered();
  }
  EXPECT_TRUE(recovered);
  EXPECT_EQ(covered, Headers<stored::v1::Chunk>(RecordType::kChunk).size());
  const auto opened =
      Headers<stored::v1::SessionOpened>(RecordType::kSessionOpened);
  ASSERT_THAT(opened, SizeIs(2));
  EXPECT_LT(opened[0].epoch(), opened[1].epoch());
}

TEST_F(SessionRegistryTest, TheNewerStreamTakesASideOverAndTheOlderIsTold) {
  const auto old_sink = std::make_shared<FakeSink>();
  const auto session = Open(old_sink, {SIDE_CLERK});
  Send(session.get(), old_sink, SIDE_CLERK, 1, 10);
  const auto new_sink = std::make_shared<FakeSink>();
  ASSERT_EQ(Open(new_sink, {SIDE_CLERK}), session);
  EXPECT_EQ(Reason(old_sink->WaitFinished()), "TAKEN_OVER");
  EXPECT_EQ(old_sink->failed_sides(), 0u);
  EXPECT_EQ(Reason(session->OnPacket(old_sink, MakePacket(SIDE_CLERK, 11))),
            "TAKEN_OVER");
  Send(session.get(), new_sink, SIDE_CLERK, 5, 20);
  ASSERT_TRUE(
      session->OnClose(new_sink, MakeClose({{SIDE_CLERK, 20}}), {}).ok());
  new_sink->WaitReceipt();
  ExpectArchived(SIDE_CLERK, 20);
}

TEST_F(SessionRegistryTest, AStreamThatEndsWithoutCloseLeavesWhatItSent) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 10);
  session->Detach(sink, absl::FailedPreconditionError("ended"));
  EXPECT_EQ(sink->WaitFinished().message(), "ended");
  EXPECT_EQ(sink->durable(SIDE_CLERK), 10u);
  ExpectArchived(SIDE_CLERK, 10);
}

TEST_F(SessionRegistryTest, ATimedTagBeginsANewSegment) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_CLERK, 1, 0, "item", "0417")).ok());
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_CLERK, 2, 3'500'000, "item", "0099"))
          .ok());
  Send(session.get(), sink, SIDE_CLERK, 1, 300);
  ASSERT_TRUE(
      session
          ->OnClose(sink, MakeClose({{SIDE_CLERK, 300}}, {{SIDE_CLERK, 2}}), {})
          .ok());
  sink->WaitReceipt();
  const auto segments = Headers<stored::v1::Segment>(RecordType::kSegment);
  ASSERT_THAT(segments, SizeIs(2));
  EXPECT_EQ(segments[0].window_end_us(), 3'500'000);
  EXPECT_EQ(segments[1].window_start_us(), 3'500'000);
}

TEST_F(SessionRegistryTest, GapsAreStatedWithTheirLength) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 50);
  // 10 s of silence, then sound again.
  for (uint64_t i = 51; i <= 60; ++i) {
    api::v1::Packet packet = MakePacket(SIDE_CLERK, i);
    packet.set_pts_us(packet.pts_us() + 10'000'000);
    packet.set_dts_us(packet.pts_us());
    ASSERT_TRUE(session->OnPacket(sink, packet).ok());
  }
  ASSERT_TRUE(session->OnClose(sink, MakeClose({{SIDE_CLERK, 60}}), {}).ok());
  sink->WaitReceipt();
  std::vector<stored::v1::Gap> gaps;
  for (const auto& chunk : Headers<stored::v1::Chunk>(RecordType::kChunk)) {
    gaps.insert(gaps.end(), chunk.gaps().begin(), chunk.gaps().end());
  }
  ASSERT_THAT(gaps, SizeIs(1));
  EXPECT_EQ(gaps[0].start_us(), 1'000'000);
  EXPECT_EQ(gaps[0].end_us(), 11'000'000);
  EXPECT_EQ(gaps[0].side(), stored::v1::SIDE_CLERK);
}

TEST_F(SessionRegistryTest, SidesOnTwoStreamsCloseTogether) {
  const auto resident = std::make_shared<FakeSink>();
  const auto clerk = std::make_shared<FakeSink>();
  const auto session = Open(resident, {SIDE_RESIDENT});
  Send(session.get(), resident, SIDE_RESIDENT, 1, 60);
  ASSERT_EQ(Open(clerk, {SIDE_CLERK}), session);
  Send(session.get(), clerk, SIDE_CLERK, 1, 60);
  ASSERT_TRUE(
      session->OnClose(resident, MakeClose({{SIDE_RESIDENT, 60}}), {}).ok());
  resident->WaitDurable(SIDE_RESIDENT, 60);
  EXPECT_EQ(Reason(session->OnPacket(resident, MakePacket(SIDE_RESIDENT, 61))),
            "SIDE_ENDED");
  ASSERT_TRUE(session->OnClose(clerk, MakeClose({{SIDE_CLERK, 60}}), {}).ok());
  EXPECT_EQ(clerk->WaitReceipt().SerializeAsString(),
            resident->WaitReceipt().SerializeAsString());
  ExpectArchived(SIDE_RESIDENT, 60);
  ExpectArchived(SIDE_CLERK, 60);
}

TEST_F(SessionRegistryTest, ASessionThatNobodyFeedsIsAbandonedByName) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 10);
  session->Detach(sink, std::nullopt);
  clock_.Advance(limits::kAbandonAfter + absl::Seconds(1));
  session->Tick();
  ASSERT_TRUE(committer_->SubmitAndWait({}).ok());
  const auto closed =
      Headers<stored::v1::SessionClosed>(RecordType::kSessionClosed);
  ASSERT_THAT(closed, SizeIs(1));
  EXPECT_EQ(closed[0].reason(), stored::v1::CLOSE_REASON_ABANDONED);
  ExpectArchived(SIDE_CLERK, 10);
}

TEST_F(SessionRegistryTest, AFailedActorsChunksGetTheirManifestFromTheNext) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 150);
  sink->WaitDurable(SIDE_CLERK, 100);
  // More than a record can hold: this session fails, and only it.
  api::v1::Notes notes;
  notes.set_side(SIDE_CLERK);
  for (uint64_t i = 1; i <= 40; ++i) {
    api::v1::Note* note = notes.add_notes();
    note->set_note_sequence(i);
    note->mutable_event()->set_type("big");
    for (int j = 0; j < 32; ++j) {
      api::v1::Attribute* attribute = note->mutable_event()->add_attributes();
      attribute->set_key("k");
      attribute->set_value(
          std::string(limits::kMaxEventAttributeValue_bytes, 'x'));
    }
  }
  const std::vector<api::v1::Note> some(notes.notes().begin(),
                                        notes.notes().end());
  for (int i = 0; i < 100; ++i) {
    for (const api::v1::Note& note : some) {
      *notes.add_notes() = note;
      notes.mutable_notes(notes.notes_size() - 1)
          ->set_note_sequence(static_cast<uint64_t>(notes.notes_size()));
    }
    if (notes.ByteSizeLong() > limits::kMaxRecordBody_bytes) break;
  }
  ASSERT_TRUE(session->OnNotes(sink, notes).ok());
  EXPECT_FALSE(sink->WaitFinished().ok());
  EXPECT_TRUE(session->failed());
  ASSERT_TRUE(committer_->SubmitAndWait({}).ok());

  const auto again = std::make_shared<FakeSink>();
  const auto next = Open(again, {SIDE_CLERK});
  ASSERT_NE(next, session);
  const uint64_t durable = last_opened_.progress(0).sequence();
  EXPECT_GE(durable, 100u);
  Send(next.get(), again, SIDE_CLERK, durable + 1, 200);
  ASSERT_TRUE(next->OnClose(again, MakeClose({{SIDE_CLERK, 200}}), {}).ok());
  again->WaitReceipt();
  ExpectArchived(SIDE_CLERK, 200);
  std::string previous;
  size_t covered = 0;
  for (const auto& segment :
       Headers<stored::v1::Segment>(RecordType::kSegment)) {
    EXPECT_EQ(segment.previous_manifest_sha256(), previous);
    previous = evidence::ManifestHash(segment.SerializeAsString());
    covered += segment.chunks_size();
  }
  EXPECT_EQ(covered, Headers<stored::v1::Chunk>(RecordType::kChunk).size());
}

TEST_F(SessionRegistryTest, ClocksThatStandStillDoNotMakeEndlessManifests) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  uint64_t sequence = 0;
  for (int chunk = 0; chunk < 2 * limits::kSegmentMaxChunks + 1; ++chunk) {
    api::v1::Packet packet = MakePacket(SIDE_CLERK, ++sequence);
    packet.set_pts_us(5);
    packet.set_dts_us(5);
    ASSERT_TRUE(session->OnPacket(sink, packet).ok());
    clock_.Advance(absl::Microseconds(limits::kReorderWindow_us));
    session->Tick();
  }
  ASSERT_TRUE(
      session->OnClose(sink, MakeClose({{SIDE_CLERK, sequence}}), {}).ok());
  sink->WaitReceipt();
  for (const auto& segment :
       Headers<stored::v1::Segment>(RecordType::kSegment)) {
    EXPECT_LE(segment.chunks_size(), limits::kSegmentMaxChunks);
  }
}

TEST_F(SessionRegistryTest, DrainMakesEverythingDurableAndTellsWhy) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 10);
  registry_->Drain(kPatience);
  EXPECT_EQ(sink->durable(SIDE_CLERK), 10u);
  EXPECT_EQ(Reason(sink->WaitFinished()), "DRAINING");
  EXPECT_EQ(Reason(registry_
                       ->Open(std::make_shared<FakeSink>(),
                              MakeOpen({SIDE_CLERK}), "g")
                       .status()),
            "DRAINING");
  ExpectArchived(SIDE_CLERK, 10);
}

}  // namespace
}  // namespace diptych::ingest
