#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/outbox.h"
#include "tools/gateway/source_signer.h"
#include "tools/gateway/spool_item.h"
#include "tools/gateway/statement_checker.h"
#include "tools/pki/signing_key.h"

namespace diptych::gateway {
namespace {

using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;

constexpr absl::Duration kNow = absl::Seconds(100);
constexpr absl::Duration kEvery = limits::kSourceDigestEvery;

class HeldClock : public base::Clock {
 public:
  absl::Time Now() override { return now; }
  absl::Duration Monotonic() override { return kNow; }

  absl::Time now = absl::FromUnixMicros(1'700'000'000'123'456);
};

class OutboxSigningTest : public testing::Test {
 protected:
  OutboxSigningTest() {
    for (const auto side : {SIDE_RESIDENT, SIDE_CLERK}) {
      api::v1::OpenSide& open = sides_.emplace_back();
      open.set_side(side);
      open.add_tracks()->set_track_id(side == SIDE_RESIDENT ? 1 : 9);
    }
    api::v1::RecordRequest open;
    for (const auto& side : sides_) *open.mutable_open()->add_sides() = side;
    checker_.Take(open);
  }

  Outbox Make(bool repeatable = false) {
    return Outbox(sides_, /*spooling=*/false,
                  {.signer = signer_,
                   .session_id = session_id_,
                   .repeatable = repeatable,
                   .clock = &clock_});
  }

  static api::v1::Packet PacketOf(uint32_t track) {
    api::v1::Packet packet;
    packet.set_track_id(track);
    packet.set_payload("x");
    return packet;
  }

  // All that would be sent now: "r1 c1" for packets, "R1-5" for statements, in
  // their order.
  std::string Drain(Outbox* outbox) {
    std::string text;
    const auto add = [&](const std::string& word) {
      absl::StrAppend(&text, text.empty() ? "" : " ", word);
    };
    while (auto message = outbox->NextMessage(kNow, /*flush=*/true)) {
      checker_.Take(*message);
      for (const auto& packet : message->packets().packets()) {
        add(absl::StrCat(packet.track_id() == 1 ? "r" : "c",
                         packet.sequence()));
      }
      for (const auto& note : message->notes().notes()) {
        const auto& digest = note.source_digest();
        add(absl::StrCat(digest.track_id() == 1 ? "R" : "C",
                         digest.first_sequence(), "-", digest.last_sequence()));
        last_time_us_ = digest.signed_time().seconds() * 1'000'000 +
                        digest.signed_time().nanos() / 1000;
      }
    }
    return text;
  }

  HeldClock clock_;
  const base::Uuid session_id_ = base::Uuid::Random();
  const base::Uuid archive_id_ = base::Uuid::Random();
  const std::shared_ptr<const SourceSigner> signer_ =
      *SourceSigner::Make(pki::MakeSigningKey()->private_key_pem, archive_id_);
  std::vector<api::v1::OpenSide> sides_;
  StatementChecker checker_{signer_->public_key(), archive_id_, session_id_};
  int64_t last_time_us_ = 0;
};

TEST_F(OutboxSigningTest, AStatementFollowsItsPacketsAndLeadsTheNext) {
  Outbox outbox = Make();
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddPacket(SIDE_CLERK, PacketOf(9), kNow + kEvery / 2);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow + kEvery);
  EXPECT_EQ(Drain(&outbox), "r1 c1 R1-1 r2");
  EXPECT_EQ(outbox.StatementsDueAt(), kNow + kEvery + kEvery / 2);
  EXPECT_EQ(checker_.wrong(), "");
  EXPECT_EQ(last_time_us_, 1'700'000'000'123'456);
}

TEST_F(OutboxSigningTest, ASilentSideIsStatedWhenItsTimeHasCome) {
  Outbox outbox = Make();
  EXPECT_FALSE(outbox.StatementsDueAt().has_value());
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  EXPECT_FALSE(outbox.AddStatements(kNow + kEvery / 2, /*all=*/false));
  EXPECT_TRUE(outbox.AddStatements(kNow + kEvery, /*all=*/false));
  EXPECT_FALSE(outbox.StatementsDueAt().has_value());
  EXPECT_FALSE(outbox.AddStatements(kNow + 2 * kEvery, /*all=*/true));
  EXPECT_EQ(Drain(&outbox), "r1 R1-1");
  EXPECT_EQ(checker_.wrong(), "");
}

TEST_F(OutboxSigningTest, WhatCanBeRepeatedKnowsNoClock) {
  Outbox outbox = Make(/*repeatable=*/true);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow + 10 * kEvery);
  EXPECT_FALSE(outbox.StatementsDueAt().has_value());
  EXPECT_FALSE(outbox.AddStatements(kNow + 100 * kEvery, /*all=*/false));
  EXPECT_EQ(Drain(&outbox), "r1 r2");
  EXPECT_TRUE(outbox.AddStatements(kNow, /*all=*/true));
  EXPECT_EQ(Drain(&outbox), "R1-2");
  EXPECT_EQ(checker_.wrong(), "");
}

TEST_F(OutboxSigningTest, AfterABreakTheSameBytesAreSent) {
  Outbox outbox = Make();
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddStatements(kNow, /*all=*/true);
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  EXPECT_EQ(Drain(&outbox), "r1 R1-1 r2");
  clock_.now += absl::Seconds(5);
  outbox.OpenSides();
  ASSERT_TRUE(outbox.Resume({}).ok());
  // The checker remembers the first one.
  EXPECT_EQ(Drain(&outbox), "r1 R1-1 r2");
  EXPECT_EQ(checker_.wrong(), "");
  EXPECT_EQ(outbox.counters()[SIDE_RESIDENT].statements, 1u);
  EXPECT_EQ(outbox.counters()[SIDE_RESIDENT].signed_packets, 1u);
}

TEST_F(OutboxSigningTest, StatementsCountInWhatIsKept) {
  Outbox outbox = Make();
  outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
  outbox.AddStatements(kNow, /*all=*/true);
  Drain(&outbox);
  EXPECT_FALSE(outbox.all_durable());
  EXPECT_EQ(outbox.CloseSides()[0].final_note_sequence(), 1u);
  api::v1::SideProgress durable;
  durable.set_side(SIDE_RESIDENT);
  durable.set_sequence(1);
  durable.set_note_sequence(1);
  outbox.MarkDurable(durable);
  EXPECT_TRUE(outbox.all_durable());
  EXPECT_EQ(outbox.kept_bytes(), 0u);
}

TEST_F(OutboxSigningTest, OnlyTheGoingOnProcessesStatementsAreRenumbered) {
  const auto renumbered = [](uint64_t number, uint64_t first, uint64_t last) {
    auto note = std::make_shared<api::v1::Note>();
    note->mutable_source_digest()->set_first_sequence(first);
    note->mutable_source_digest()->set_last_sequence(last);
    SpoolItem item = {.kind = SpoolItem::Kind::kNote,
                      .side = SIDE_CLERK,
                      .number = number,
                      .note = note};
    Renumber({{.side = SIDE_RESIDENT, .after = 1, .delta = 7, .note_delta = 7},
              {.side = SIDE_CLERK,
               .after = 100,
               .delta = 30,
               .note_after = 3,
               .note_delta = 2}},
             &item);
    // What others hold of it is as it was.
    EXPECT_EQ(note->source_digest().last_sequence(), last);
    return absl::StrCat(item.number, ": ",
                        item.note->source_digest().first_sequence(), "-",
                        item.note->source_digest().last_sequence());
  };
  // Packets above 100 were durable, and the spool has none of them.
  EXPECT_EQ(renumbered(3, 81, 120), "3: 81-120");
  // Of what lay in the spool.
  EXPECT_EQ(renumbered(4, 81, 100), "6: 81-100");
  EXPECT_EQ(renumbered(5, 101, 110), "7: 131-140");
}

TEST_F(OutboxSigningTest, CallersKeepHalfOfASessionsNotes) {
  Outbox outbox = Make();
  for (uint64_t i = 0; i < limits::kMaxNotesPerSide; ++i) {
    outbox.AddPacket(SIDE_RESIDENT, PacketOf(1), kNow);
    outbox.AddStatements(kNow, /*all=*/true);
  }
  EXPECT_EQ(outbox.CloseSides()[0].final_note_sequence(),
            limits::kMaxNotesPerSide / 2);
}

}  // namespace
}  // namespace diptych::gateway
