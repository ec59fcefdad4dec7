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
#include "archiver/ingest/session.h"
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
using testing::HasSubstr;
using testing::SizeIs;

TEST_F(SessionRegistryTest, BadPacketsAreNamedAndChangeNothing) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 10);
  struct Case {
    std::function<void(api::v1::Packet*)> spoil;
    std::string reason;
  };
  const std::vector<Case> cases = {
      {[](api::v1::Packet* p) { p->set_sequence(12); }, "SEQUENCE_GAP"},
      {[](api::v1::Packet* p) { p->set_sequence(0); }, "SEQUENCE_GAP"},
      {[](api::v1::Packet* p) { p->set_track_id(7); }, "UNKNOWN_TRACK"},
      {[](api::v1::Packet* p) {
         p->set_pts_us(-1);
         p->set_dts_us(-1);
       },
       "BAD_TIME"},
      {[](api::v1::Packet* p) {
         p->set_dts_us(0);
         p->set_pts_us(0);
       },
       "BAD_TIME"},
      {[](api::v1::Packet* p) { p->set_dts_us(-5'000'000); }, "BAD_TIME"},
      {[](api::v1::Packet* p) { p->set_dts_us(p->pts_us() + 1); }, "BAD_TIME"},
      {[](api::v1::Packet* p) { p->set_pts_us(p->dts_us() + 17'000'000); },
       "BAD_TIME"},
      {[](api::v1::Packet* p) {
         p->set_pts_us(limits::kSessionMax_us + 1);
         p->set_dts_us(p->pts_us());
       },
       "BAD_TIME"},
      {[](api::v1::Packet* p) { p->clear_payload(); }, "BAD_PACKET"},
      {[](api::v1::Packet* p) {
         p->set_payload(std::string(limits::kMaxPacket_bytes + 1, 'x'));
       },
       "BAD_PACKET"},
      {[](api::v1::Packet* p) {
         p->set_sequence(3);
         p->set_payload("other");
       },
       "SEQUENCE_REUSED"},
  };
  for (const Case& bad : cases) {
    api::v1::Packet packet = MakePacket(SIDE_CLERK, 11);
    bad.spoil(&packet);
    const absl::Status status = session->OnPacket(sink, packet);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(Reason(status), bad.reason) << status;
  }
  Send(session.get(), sink, SIDE_CLERK, 11, 20);
  Send(session.get(), sink, SIDE_RESIDENT, 1, 5);
  ASSERT_TRUE(
      session
          ->OnClose(sink, MakeClose({{SIDE_CLERK, 20}, {SIDE_RESIDENT, 5}}), {})
          .ok());
  sink->WaitReceipt();
  ExpectArchived(SIDE_CLERK, 20);
  ExpectArchived(SIDE_RESIDENT, 5);
}

TEST_F(SessionRegistryTest, BadOpensAreNamed) {
  const auto reason = [&](const std::function<void(api::v1::Open*)>& spoil) {
    api::v1::Open open = MakeOpen({SIDE_RESIDENT, SIDE_CLERK});
    spoil(&open);
    return Reason(
        registry_->Open(std::make_shared<FakeSink>(), open, "g").status());
  };
  EXPECT_EQ(reason([](auto* o) { o->set_session_id("no uuid"); }),
            "BAD_SESSION_ID");
  EXPECT_EQ(reason([](auto* o) { o->clear_sides(); }), "BAD_OPEN");
  EXPECT_EQ(
      reason([](auto* o) { o->mutable_sides(1)->set_side(SIDE_RESIDENT); }),
      "SIDE_CONFLICT");
  EXPECT_EQ(reason([](auto* o) {
              o->mutable_sides(0)->mutable_tracks(0)->set_track_id(SIDE_CLERK);
            }),
            "BAD_OPEN");
  EXPECT_EQ(reason([](auto* o) {
              o->mutable_sides(0)->mutable_tracks(0)->set_codec(
                  static_cast<api::v1::Codec>(77));
            }),
            "UNKNOWN_CODEC");
  EXPECT_EQ(reason([](auto* o) { o->mutable_start_time()->set_nanos(-5); }),
            "BAD_OPEN");
}

TEST_F(SessionRegistryTest, BadNotesAreNamedAndGoodOnesBeforeThemAreKept) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_CLERK, 1, 0, "clerk", "C1")).ok());
  EXPECT_EQ(
      Reason(session->OnNotes(sink, MakeTag(SIDE_CLERK, 3, 0, "clerk", "C1"))),
      "SEQUENCE_GAP");
  EXPECT_EQ(
      Reason(session->OnNotes(sink, MakeTag(SIDE_CLERK, 2, 0, "Clerk", "C1"))),
      "BAD_TAG");
  EXPECT_EQ(Reason(session->OnNotes(sink, MakeTag(SIDE_CLERK, 2, 0, "clerk",
                                                  std::string(257, 'x')))),
            "BAD_TAG");
  EXPECT_EQ(
      Reason(session->OnNotes(sink, MakeTag(SIDE_CLERK, 2, 0, "event", "x"))),
      "BAD_NOTE");
  EXPECT_EQ(
      Reason(session->OnNotes(sink, MakeTag(SIDE_CLERK, 2, -1, "item", "1"))),
      "BAD_NOTE");
  EXPECT_FALSE(
      session->OnNotes(sink, MakeTag(SIDE_RESIDENT, 1, 0, "item", "1")).ok());
  // Neither value nor key of a resident in any message.
  const absl::Status bad =
      session->OnNotes(sink, MakeTag(SIDE_CLERK, 2, 0, "resident", "3101\x01"));
  EXPECT_THAT(std::string(bad.message()), testing::Not(HasSubstr("3101")));
  ASSERT_TRUE(
      session
          ->OnClose(sink, MakeClose({{SIDE_CLERK, 0}}, {{SIDE_CLERK, 1}}), {})
          .ok());
  sink->WaitReceipt();
}

TEST_F(SessionRegistryTest, CloseThatPromisesMoreThanCameIsRefused) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 10);
  EXPECT_EQ(Reason(session->OnClose(sink, MakeClose({{SIDE_CLERK, 11}}), {})),
            "CLOSE_MISMATCH");
  // A side that was refused ends as it is, and the difference is on record.
  ASSERT_TRUE(
      session->OnClose(sink, MakeClose({{SIDE_CLERK, 11}}), {SIDE_CLERK}).ok());
  sink->WaitReceipt();
  const auto closed =
      Headers<stored::v1::SessionClosed>(RecordType::kSessionClosed);
  ASSERT_THAT(closed, SizeIs(1));
  EXPECT_EQ(closed[0].sides(1).last_sequence(), 10u);
  EXPECT_EQ(closed[0].sides(1).declared_sequence(), 11u);
}

}  // namespace
}  // namespace diptych::ingest
