#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_registry.h"
#include "archiver/log/record.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/ingest/ingest_fixture.h"

// An open session's states, how new ones are let in, and how the busy are held
// back.

namespace diptych::ingest {
namespace {

using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;
using log::RecordType;
using stored::v1::SESSION_STATE_DEGRADED;
using stored::v1::SESSION_STATE_RECOVERED;
using stored::v1::TROUBLE_MISSING;
using stored::v1::TROUBLE_STALLED;
using testing::IsEmpty;
using testing::SizeIs;

class StatesTest : public SessionRegistryTest {
 protected:
  std::vector<stored::v1::StateChanged> States() const {
    return Headers<stored::v1::StateChanged>(RecordType::kStateChanged);
  }
  // Everything that was submitted is in the log afterwards.
  void Settle() { ASSERT_TRUE(committer_->SubmitAndWait({}).ok()); }

  // Both sides send for a second, packet by packet, in real time.
  void SendSecond(Session* session, const std::shared_ptr<FakeSink>& sink,
                  const std::vector<api::v1::Side>& sides, uint64_t second) {
    for (const api::v1::Side side : sides) {
      Send(session, sink, side, second * 50 + 1, second * 50 + 50);
    }
    clock_.Advance(absl::Seconds(1));
    session->Tick();
  }
};

TEST_F(StatesTest, ASideThatNeverComesIsMissingWithinFiveSeconds) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT});
  for (uint64_t second = 0; second < 5; ++second) {
    SendSecond(session.get(), sink, {SIDE_RESIDENT}, second);
  }
  Settle();
  const auto states = States();
  ASSERT_THAT(states, SizeIs(1));
  EXPECT_EQ(states[0].state(), SESSION_STATE_DEGRADED);
  EXPECT_EQ(states[0].session_id(), id_.bytes());
  ASSERT_EQ(states[0].troubles_size(), 1);
  EXPECT_EQ(states[0].troubles(0).side(), stored::v1::SIDE_CLERK);
  EXPECT_EQ(states[0].troubles(0).trouble(), TROUBLE_MISSING);
  EXPECT_LE(states[0].at_us(), 5'000'000);
}

TEST_F(StatesTest, ASideThatStallsAndComesBackIsSaidEachTimeOnce) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  for (uint64_t second = 0; second < 10; ++second) {
    SendSecond(session.get(), sink, {SIDE_RESIDENT, SIDE_CLERK}, second);
  }
  EXPECT_THAT(States(), IsEmpty());
  for (uint64_t second = 10; second < 20; ++second) {
    SendSecond(session.get(), sink, {SIDE_RESIDENT}, second);
  }
  Settle();
  ASSERT_THAT(States(), SizeIs(1));
  EXPECT_EQ(States()[0].troubles(0).side(), stored::v1::SIDE_CLERK);
  EXPECT_EQ(States()[0].troubles(0).trouble(), TROUBLE_STALLED);
  EXPECT_EQ(States()[0].troubles(0).since_us(), 10'000'000);
  for (uint64_t second = 10; second < 12; ++second) {
    SendSecond(session.get(), sink, {SIDE_CLERK}, second);
  }
  for (uint64_t second = 20; second < 24; ++second) {
    SendSecond(session.get(), sink, {SIDE_RESIDENT, SIDE_CLERK}, second - 8);
  }
  Settle();
  const auto states = States();
  ASSERT_THAT(states, SizeIs(2));
  EXPECT_EQ(states[1].state(), SESSION_STATE_RECOVERED);
  EXPECT_EQ(states[1].troubles_size(), 0);
}

TEST_F(StatesTest, ASideThatHasEndedIsNotMissed) {
  const auto sink = std::make_shared<FakeSink>();
  const auto clerk = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT});
  ASSERT_EQ(Open(clerk, {SIDE_CLERK}), session);
  Send(session.get(), clerk, SIDE_CLERK, 1, 10);
  ASSERT_TRUE(session->OnClose(clerk, MakeClose({{SIDE_CLERK, 10}}), {}).ok());
  for (uint64_t second = 0; second < 10; ++second) {
    SendSecond(session.get(), sink, {SIDE_RESIDENT}, second);
  }
  Settle();
  EXPECT_THAT(States(), IsEmpty());
}

TEST_F(StatesTest, ARestartIsSaidWhenTheSessionGoesOn) {
  {
    const auto sink = std::make_shared<FakeSink>();
    const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
    Send(session.get(), sink, SIDE_RESIDENT, 1, 100);
    Send(session.get(), sink, SIDE_CLERK, 1, 100);
    sink->WaitDurable(SIDE_CLERK, 50);
  }
  StopWriter();
  StartWriter();
  const auto sink = std::make_shared<FakeSink>();
  Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Settle();
  ASSERT_THAT(States(), SizeIs(1));
  EXPECT_EQ(States()[0].state(), SESSION_STATE_RECOVERED);
}

TEST_F(StatesTest, ASessionThatNobodyComesBackForIsDegradedToo) {
  {
    const auto sink = std::make_shared<FakeSink>();
    const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
    Send(session.get(), sink, SIDE_RESIDENT, 1, 100);
    clock_.Advance(absl::Microseconds(limits::kReorderWindow_us));
    session->Tick();
    sink->WaitDurable(SIDE_RESIDENT, 100);
  }
  StopWriter();
  StartWriter();
  clock_.Advance(limits::kSideStalled + absl::Seconds(1));
  // The registry looks by itself.
  const absl::Time deadline = absl::Now() + kPatience;
  while (States().empty() && absl::Now() < deadline) Settle();
  ASSERT_THAT(States(), SizeIs(1));
  EXPECT_EQ(States()[0].state(), SESSION_STATE_DEGRADED);
  ASSERT_EQ(States()[0].troubles_size(), 2);
  EXPECT_EQ(States()[0].troubles(0).trouble(), TROUBLE_STALLED);
  EXPECT_EQ(States()[0].troubles(0).since_us(), 2'000'000);
  EXPECT_EQ(States()[0].troubles(1).trouble(), TROUBLE_MISSING);
}

TEST_F(StatesTest, TwoStreamsMayCloseInEitherOrder) {
  for (const bool expected_first : {true, false}) {
    id_ = base::Uuid::Random();
    const auto resident = std::make_shared<FakeSink>();
    const auto clerk = std::make_shared<FakeSink>();
    const auto session = Open(resident, {SIDE_RESIDENT});
    ASSERT_EQ(Open(clerk, {SIDE_CLERK}), session);
    api::v1::Close first = MakeClose({{SIDE_RESIDENT, 0}});
    api::v1::Close second = MakeClose({{SIDE_CLERK, 0}});
    (expected_first ? first : second).set_more_sides_expected(true);
    ASSERT_TRUE(session->OnClose(resident, first, {}).ok());
    ASSERT_TRUE(session->OnClose(clerk, second, {}).ok());
    clerk->WaitReceipt();
  }
}

TEST_F(StatesTest, AfterARestartNobodyClosesWithoutTheOtherSide) {
  {
    const auto sink = std::make_shared<FakeSink>();
    const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
    Send(session.get(), sink, SIDE_RESIDENT, 1, 100);
    Send(session.get(), sink, SIDE_CLERK, 1, 100);
    session->Detach(sink, std::nullopt);
    Settle();
  }
  StopWriter();
  StartWriter();
  const auto clerk = std::make_shared<FakeSink>();
  const auto session = Open(clerk, {SIDE_CLERK});
  ASSERT_TRUE(session->OnClose(clerk, MakeClose({{SIDE_CLERK, 100}}), {}).ok());
  Settle();
  EXPECT_EQ(clerk->Count(api::v1::RecordResponse::kReceipt), 0u);
  // The resident's gateway was away for longer, and still has something.
  const auto resident = std::make_shared<FakeSink>();
  ASSERT_EQ(Open(resident, {SIDE_RESIDENT}), session);
  Send(session.get(), resident, SIDE_RESIDENT, 101, 150);
  ASSERT_TRUE(
      session->OnClose(resident, MakeClose({{SIDE_RESIDENT, 150}}), {}).ok());
  resident->WaitReceipt();
  ExpectArchived(SIDE_RESIDENT, 150);
}

TEST_F(StatesTest, ASideThatIsStillExpectedKeepsTheSessionOpen) {
  const auto resident = std::make_shared<FakeSink>();
  const auto session = Open(resident, {SIDE_RESIDENT});
  api::v1::Close close = MakeClose({{SIDE_RESIDENT, 0}});
  close.set_more_sides_expected(true);
  ASSERT_TRUE(session->OnClose(resident, close, {}).ok());
  Settle();
  EXPECT_EQ(resident->Count(api::v1::RecordResponse::kReceipt), 0u);
}

TEST_F(StatesTest, GapsThatLastToTheEndAreInTheClosingRecord) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 100);
  Send(session.get(), sink, SIDE_RESIDENT, 1, 500);
  ASSERT_TRUE(
      session
          ->OnClose(sink, MakeClose({{SIDE_RESIDENT, 500}, {SIDE_CLERK, 100}}),
                    {})
          .ok());
  sink->WaitReceipt();
  const auto closed =
      Headers<stored::v1::SessionClosed>(RecordType::kSessionClosed);
  ASSERT_THAT(closed, SizeIs(1));
  ASSERT_EQ(closed[0].gaps_size(), 1);
  EXPECT_EQ(closed[0].gaps(0).side(), stored::v1::SIDE_CLERK);
  EXPECT_EQ(closed[0].gaps(0).start_us(), 2'000'000);
  EXPECT_EQ(closed[0].gaps(0).end_us(), 10'000'000);
}

TEST_F(StatesTest, NewSessionsAreRefusedWhereOpenOnesGoOn) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  Send(session.get(), sink, SIDE_CLERK, 1, 10);
  context_->admit = [] { return NoSpace(1000, 2000); };
  const auto refused = [&] {
    api::v1::Open open = MakeOpen({SIDE_CLERK});
    open.set_session_id(base::Uuid::Random().ToString());
    return registry_->Open(std::make_shared<FakeSink>(), open, "g").status();
  };
  EXPECT_EQ(refused().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Reason(refused()), "NO_SPACE");
  const auto detail = base::GetErrorDetail(refused());
  EXPECT_TRUE(detail->retryable());
  EXPECT_GT(detail->retry_after_ms(), 0u);
  // The same session again, and once more after a restart.
  const auto again = std::make_shared<FakeSink>();
  ASSERT_EQ(Open(again, {SIDE_CLERK}), session);
  Send(session.get(), again, SIDE_CLERK, 11, 20);
  session->Detach(again, std::nullopt);
  Settle();
  StopWriter();
  StartWriter();
  context_->admit = [] { return NoSpace(1000, 2000); };
  const auto last = std::make_shared<FakeSink>();
  EXPECT_NE(Open(last, {SIDE_CLERK}), nullptr);
  EXPECT_EQ(last_opened_.progress(0).sequence(), 20u);
  // Too much in memory does likewise.
  context_->admit = nullptr;
  context_->undurable_bytes += limits::kAdmissionUndurable_bytes + 1;
  EXPECT_EQ(Reason(refused()), "OVERLOADED");
  context_->undurable_bytes -= limits::kAdmissionUndurable_bytes + 1;
  EXPECT_TRUE(refused().ok());
}

TEST_F(StatesTest, AGatewayThatSendsTooFastIsAskedToSlowDownAndThenHeldBack) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_CLERK});
  EXPECT_TRUE(session->ReadyForMore(sink));
  EXPECT_EQ(sink->Count(api::v1::RecordResponse::kSlowDown), 0u);
  clock_.Advance(limits::kSlowDownEvery);
  context_->undurable_bytes += limits::kAdmissionUndurable_bytes + 1;
  EXPECT_TRUE(session->ReadyForMore(sink));
  EXPECT_TRUE(session->ReadyForMore(sink));
  EXPECT_EQ(sink->Count(api::v1::RecordResponse::kSlowDown), 1u);
  context_->undurable_bytes += limits::kMaxUndurable_bytes;
  EXPECT_FALSE(session->ReadyForMore(sink));
  context_->undurable_bytes -=
      limits::kMaxUndurable_bytes + limits::kAdmissionUndurable_bytes + 1;
}

TEST_F(StatesTest, ASideThatIsHeldBackHasNotStalled) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  SendSecond(session.get(), sink, {SIDE_RESIDENT, SIDE_CLERK}, 0);
  context_->undurable_bytes += limits::kMaxUndurable_bytes;
  EXPECT_FALSE(session->ReadyForMore(sink));
  clock_.Advance(absl::Seconds(30));
  session->Tick();
  Settle();
  EXPECT_THAT(States(), IsEmpty());
  context_->undurable_bytes -= limits::kMaxUndurable_bytes;
}

}  // namespace
}  // namespace diptych::ingest
