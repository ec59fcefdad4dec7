#include "tools/gateway/outbox.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {
namespace {

using api::v1::RecordRequest;
using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;

constexpr absl::Duration kNow = absl::Seconds(100);

api::v1::Track TrackOf(uint32_t id, uint32_t width) {
  api::v1::Track track;
  track.set_track_id(id);
  track.set_width(width);
  return track;
}

std::vector<api::v1::OpenSide> BothSides() {
  std::vector<api::v1::OpenSide> sides(2);
  sides[0].set_side(SIDE_RESIDENT);
  *sides[0].add_tracks() = TrackOf(1, 640);
  sides[1].set_side(SIDE_CLERK);
  *sides[1].add_tracks() = TrackOf(9, 640);
  return sides;
}

api::v1::Packet PacketOf(uint32_t track, size_t bytes = 10) {
  api::v1::Packet packet;
  packet.set_track_id(track);
  packet.set_payload(std::string(bytes, 'x'));
  return packet;
}

api::v1::Note Tag(const std::string& key, api::v1::TagOperation operation,
                  const std::string& value) {
  api::v1::Note note;
  note.mutable_tag()->set_key(key);
  note.mutable_tag()->set_operation(operation);
  note.mutable_tag()->add_values(value);
  return note;
}

api::v1::SideProgress Progress(api::v1::Side side, uint64_t sequence,
                               uint64_t note = 0) {
  api::v1::SideProgress progress;
  progress.set_side(side);
  progress.set_sequence(sequence);
  progress.set_note_sequence(note);
  return progress;
}

// Everything that would be sent now, one word a message: "p1,2" for packets by
// their sequences, "n1" for notes, "t" for tracks.
std::string Drain(Outbox* outbox) {
  std::string text;
  while (auto message = outbox->NextMessage(kNow, /*flush=*/true)) {
    if (!text.empty()) text += ' ';
    if (message->has_packets()) {
      text += 'p';
      for (const auto& packet : message->packets().packets()) {
        text += (packet.track_id() < 9 ? 'r' : 'c') +
                std::to_string(packet.sequence());
      }
    } else if (message->has_notes()) {
      text += 'n';
      for (const auto& note : message->notes().notes()) {
        text += std::to_string(note.note_sequence());
      }
    } else if (message->has_tracks_changed()) {
      text += 't' + std::to_string(
                        message->tracks_changed().side().tracks(0).width());
    }
  }
  return text;
}

TEST(OutboxTest, NumbersEachSideAndKeepsTheOrder) {
  Outbox outbox(BothSides());
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  ASSERT_TRUE(
      outbox.AddNote(SIDE_CLERK, Tag("item", api::v1::TAG_OPERATION_ADD, "1"))
          .ok());
  outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow);
  EXPECT_EQ(Drain(&outbox), "pr1c1r2 n1 pc2");
  EXPECT_TRUE(outbox.everything_sent());
}

TEST(OutboxTest, WaitsForAFullMessageOrItsTime) {
  Outbox outbox(BothSides());
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1, 1'000), kNow);
  EXPECT_FALSE(outbox.NextMessage(kNow, false).has_value());
  EXPECT_EQ(outbox.NextDeadline(), kNow + limits::kBatchMax);
  EXPECT_TRUE(outbox.NextMessage(kNow + limits::kBatchMax, false).has_value());
  EXPECT_FALSE(outbox.NextDeadline().has_value());

  for (int i = 0; i < 100; ++i) {
    outbox.AddPacket(SIDE_RESIDENT, PacketOf(1, 1'000), kNow);
  }
  const auto full = outbox.NextMessage(kNow, false);
  ASSERT_TRUE(full.has_value());
  EXPECT_LE(full->ByteSizeLong(), limits::kBatchMax_bytes + 4'096);
  EXPECT_GE(full->packets().packets_size(), 50);
}

TEST(OutboxTest, ALargePacketGoesAlone) {
  Outbox outbox(BothSides());
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1, 1 << 20), kNow);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  EXPECT_EQ(Drain(&outbox), "pr1 pr2 pr3");
}

TEST(OutboxTest, SendsAgainWhatIsNotDurable) {
  Outbox outbox(BothSides());
  for (int i = 0; i < 3; ++i) {
    outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
    outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow);
  }
  Drain(&outbox);
  outbox.MarkDurable(Progress(SIDE_RESIDENT, 2));
  outbox.OpenSides();
  ASSERT_TRUE(
      outbox.Resume({Progress(SIDE_RESIDENT, 2), Progress(SIDE_CLERK, 1)})
          .ok());
  EXPECT_EQ(Drain(&outbox), "pc2r3c3");
}

TEST(OutboxTest, RefusesAnArchiveThatForgot) {
  Outbox outbox(BothSides());
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  Drain(&outbox);
  outbox.MarkDurable(Progress(SIDE_RESIDENT, 1));
  EXPECT_TRUE(absl::IsDataLoss(outbox.Resume({Progress(SIDE_RESIDENT, 0)})));
}

TEST(OutboxTest, SkipsWhatAnEarlierRunHandedOver) {
  Outbox outbox(BothSides());
  ASSERT_TRUE(outbox.Resume({Progress(SIDE_RESIDENT, 2, 1)}).ok());
  for (int i = 0; i < 3; ++i) {
    outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  }
  EXPECT_EQ(Drain(&outbox), "pr3");
  // Its tags are said again all the same: a restarted archive can't read them.
  ASSERT_TRUE(
      outbox
          .AddNote(SIDE_RESIDENT, Tag("item", api::v1::TAG_OPERATION_ADD, "1"))
          .ok());
  EXPECT_FALSE(outbox.everything_sent());
  EXPECT_EQ(Drain(&outbox), "n1");
  EXPECT_TRUE(outbox.everything_sent());
}

TEST(OutboxTest, SaysTheTagsInForceAgain) {
  Outbox outbox(BothSides());
  const auto add = [&](const api::v1::Note& note) {
    ASSERT_TRUE(outbox.AddNote(SIDE_CLERK, note).ok());
  };
  add(Tag("item", api::v1::TAG_OPERATION_ADD, "1"));
  add(Tag("clerk", api::v1::TAG_OPERATION_ADD, "C1"));
  add(Tag("item", api::v1::TAG_OPERATION_SET, "2"));
  api::v1::Note event;
  event.mutable_event()->set_type("rated");
  add(event);
  EXPECT_EQ(Drain(&outbox), "n1234");
  outbox.MarkDurable(Progress(SIDE_CLERK, 0, 4));
  EXPECT_EQ(Drain(&outbox), "");
  outbox.OpenSides();
  ASSERT_TRUE(outbox.Resume({Progress(SIDE_CLERK, 0, 4)}).ok());
  // The first item is overruled, the event is no tag in force.
  EXPECT_EQ(Drain(&outbox), "n23");
}

TEST(OutboxTest, TracksChangeBeforeTheirFirstPacket) {
  Outbox outbox(BothSides());
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddTracks(SIDE_RESIDENT, {TrackOf(1, 480)});
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow);
  EXPECT_EQ(Drain(&outbox), "pr1 t480 pr2c1");
}

TEST(OutboxTest, DeclaresTheTracksOfTheFirstPacketThatIsNotDurable) {
  Outbox outbox(BothSides());
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddTracks(SIDE_RESIDENT, {TrackOf(1, 480)});
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  Drain(&outbox);
  EXPECT_EQ(outbox.OpenSides()[0].tracks(0).width(), 640u);
  // The archive turns out to have the first one: the change is sent all the
  // same, since this stream declared the tracks before it.
  ASSERT_TRUE(outbox.Resume({Progress(SIDE_RESIDENT, 1)}).ok());
  EXPECT_EQ(Drain(&outbox), "t480 pr2");
  EXPECT_EQ(outbox.OpenSides()[0].tracks(0).width(), 480u);
  ASSERT_TRUE(outbox.Resume({Progress(SIDE_RESIDENT, 1)}).ok());
  EXPECT_EQ(Drain(&outbox), "pr2");
}

TEST(OutboxTest, CountsWhatItKeeps) {
  Outbox outbox(BothSides());
  EXPECT_EQ(outbox.kept_bytes(), 0u);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1, 5'000), kNow);
  outbox.AddPacket(SIDE_CLERK, PacketOf(9, 5'000), kNow);
  ASSERT_TRUE(
      outbox.AddNote(SIDE_CLERK, Tag("item", api::v1::TAG_OPERATION_ADD, "1"))
          .ok());
  EXPECT_GE(outbox.kept_bytes(), 10'000u);
  Drain(&outbox);
  outbox.MarkDurable(Progress(SIDE_CLERK, 1, 1));
  outbox.RemoveSide(SIDE_RESIDENT);
  EXPECT_EQ(outbox.kept_bytes(), 0u);
  EXPECT_EQ(outbox.CloseSides().size(), 1u);
  EXPECT_EQ(outbox.CloseSides()[0].final_sequence(), 1u);
  EXPECT_EQ(outbox.CloseSides()[0].final_note_sequence(), 1u);
}

api::v1::Note Mark() {
  api::v1::Note note;
  note.mutable_event();
  return note;
}

size_t UnwrittenOf(Outbox* outbox) {
  return outbox->Unwritten(absl::InfiniteDuration(), SIZE_MAX).size();
}

TEST(OutboxTest, WhatIsBehindTheWrittenStaysToBeWritten) {
  Outbox outbox(BothSides(), /*spooling=*/true);
  outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow);
  const auto first = outbox.Unwritten(absl::InfiniteDuration(), SIZE_MAX);
  ASSERT_EQ(first.size(), 1u);
  // While that is on its way to the disk:
  outbox.AddTracks(SIDE_CLERK, {TrackOf(9, 480)});
  ASSERT_TRUE(
      outbox.AddNote(SIDE_CLERK, Tag("item", api::v1::TAG_OPERATION_ADD, "1"))
          .ok());
  outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow);
  outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow);
  Drain(&outbox);
  outbox.MarkDurable(Progress(SIDE_CLERK, 3, 1));
  outbox.MarkAppended(first);
  outbox.MarkSynced();
  // The tracks and the tag; the packets are durable.
  EXPECT_EQ(UnwrittenOf(&outbox), 2u);
}

TEST(OutboxTest, OnlyTagsAndTracksAreKeptForTheDiskOnceDurable) {
  Outbox outbox(BothSides(), /*spooling=*/true);
  ASSERT_TRUE(outbox.AddNote(SIDE_CLERK, Mark()).ok());
  ASSERT_TRUE(
      outbox.AddNote(SIDE_CLERK, Tag("item", api::v1::TAG_OPERATION_ADD, "1"))
          .ok());
  EXPECT_EQ(UnwrittenOf(&outbox), 2u);
  Drain(&outbox);
  outbox.MarkDurable(Progress(SIDE_CLERK, 0, 2));
  EXPECT_EQ(UnwrittenOf(&outbox), 1u);
}

TEST(OutboxTest, MemoryKeepsWhatIsNotSafeOnDisk) {
  Outbox outbox(BothSides(), /*spooling=*/true);
  for (int i = 0; i < 10; ++i) {
    outbox.AddPacket(SIDE_CLERK, PacketOf(9, 10'000), kNow);
  }
  const size_t all_bytes = outbox.kept_bytes();
  outbox.MarkAppended(outbox.Unwritten(absl::InfiniteDuration(), SIZE_MAX));
  EXPECT_EQ(UnwrittenOf(&outbox), 0u);
  outbox.Evict(20'000);
  EXPECT_EQ(outbox.kept_bytes(), all_bytes);
  // The disk could not keep it: once more.
  outbox.MarkLost();
  EXPECT_EQ(UnwrittenOf(&outbox), 10u);
  outbox.MarkAppended(outbox.Unwritten(absl::InfiniteDuration(), SIZE_MAX));
  outbox.MarkSynced();
  outbox.Evict(20'000);
  EXPECT_LE(outbox.kept_bytes(), 20'000u);
  EXPECT_EQ(outbox.counters()[SIDE_CLERK].spooled, 10u);
}

TEST(OutboxTest, TagChangesAreBounded) {
  Outbox outbox(BothSides());
  absl::Status status;
  size_t accepted = 0;
  while (status.ok() && accepted <= limits::kMaxTagNotes) {
    status = outbox.AddNote(SIDE_CLERK,
                            Tag("item", api::v1::TAG_OPERATION_ADD, "1"));
    if (status.ok()) ++accepted;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(accepted, limits::kMaxTagNotes);
}

}  // namespace
}  // namespace diptych::gateway
