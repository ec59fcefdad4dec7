#include "tools/gateway/gateway_session.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/ingest.grpc.pb.h"
#include "tools/gateway/fake_ingest.h"

namespace diptych::gateway {
namespace {

using api::v1::RecordRequest;
using api::v1::RecordResponse;
using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;
using ServerStream = grpc::ServerReaderWriter<RecordResponse, RecordRequest>;

constexpr absl::Duration kPatience = absl::Seconds(20);

class GatewaySessionTest : public testing::Test {
 protected:
  void StartServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&ingest_);
    server_ = builder.BuildAndStart();
  }

  ~GatewaySessionTest() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  SessionOptions Options() {
    SessionOptions options;
    options.connect = [this] {
      return grpc::CreateChannel("127.0.0.1:" + std::to_string(port_),
                                 grpc::InsecureChannelCredentials());
    };
    options.session_id = base::Uuid::Random();
    options.start_time = absl::FromUnixMillis(1'700'000'000'123);
    options.reconnect_min = absl::Milliseconds(1);
    options.reconnect_max = absl::Milliseconds(20);
    for (const auto side : {SIDE_RESIDENT, SIDE_CLERK}) {
      api::v1::OpenSide& open = options.sides.emplace_back();
      open.set_side(side);
      open.add_tracks()->set_track_id(side == SIDE_RESIDENT ? 1 : 9);
    }
    return options;
  }

  static api::v1::Packet PacketOf(api::v1::Side side, size_t bytes = 100) {
    api::v1::Packet packet;
    packet.set_track_id(side == SIDE_RESIDENT ? 1 : 9);
    packet.set_payload(std::string(bytes, 'x'));
    return packet;
  }

  // `count` packets on each side, alternating.
  static void SendPackets(GatewaySession* session, int count,
                          size_t bytes = 100) {
    for (int i = 0; i < count; ++i) {
      for (const auto side : {SIDE_RESIDENT, SIDE_CLERK}) {
        ASSERT_TRUE(session->SendPacket(side, PacketOf(side, bytes)).ok());
      }
    }
  }

  FakeIngest ingest_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

// Every number from 1 to `last`, in order, none left out; numbers may be said
// again after a break.
void ExpectComplete(const std::vector<uint64_t>& sequences, uint64_t last) {
  uint64_t highest = 0;
  for (const uint64_t sequence : sequences) {
    EXPECT_LE(sequence, highest + 1);
    highest = std::max(highest, sequence);
  }
  EXPECT_EQ(highest, last);
}

TEST_F(GatewaySessionTest, HandsOverBothSides) {
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status*) {
    ingest_.Answer(request, out);
    return request.has_close();
  };
  StartServer();
  const SessionOptions options = Options();
  const auto session = GatewaySession::Start(options);
  ASSERT_TRUE(session->WaitUntilOpen().ok());
  api::v1::Note note;
  note.mutable_tag()->set_key("item");
  ASSERT_TRUE(session->SendNote(SIDE_CLERK, note).ok());
  SendPackets(session.get(), 50);
  const auto receipt = session->Close(kPatience);
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  EXPECT_EQ(receipt->session_id(), options.session_id.ToString());

  const auto requests = ingest_.requests();
  EXPECT_EQ(requests[0].open().sides_size(), 2);
  EXPECT_EQ(requests[0].open().start_time().seconds(), 1'700'000'000);
  EXPECT_EQ(requests[0].open().start_time().nanos(), 123'000'000);
  const auto& close = requests.back().close();
  ASSERT_EQ(close.sides_size(), 2);
  EXPECT_EQ(close.sides(0).final_sequence(), 50u);
  EXPECT_EQ(close.sides(1).final_sequence(), 50u);
  EXPECT_EQ(close.sides(1).final_note_sequence(), 1u);
  EXPECT_EQ(ingest_.sequences(SIDE_RESIDENT).size(), 50u);
  // In batches, not one by one.
  EXPECT_LT(requests.size(), 40u);
  EXPECT_FALSE(session->SendPacket(SIDE_CLERK, PacketOf(SIDE_CLERK)).ok());
}

TEST_F(GatewaySessionTest, GoesOnAfterABreakFromWhereTheArchiveSays) {
  int messages = 0;
  ingest_.script = [&](int stream, const RecordRequest& request,
                       ServerStream* out, grpc::Status* status) {
    // The first stream acknowledges its first messages only, then breaks.
    const bool durable = stream > 0 || ++messages < 3;
    ingest_.Answer(request, out, durable);
    if (stream == 0 && messages == 6) {
      *status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
      return true;
    }
    return request.has_close();
  };
  StartServer();
  SessionOptions options = Options();
  int broken = 0;
  options.on_broken = [&](const absl::Status& reason) {
    EXPECT_TRUE(absl::IsUnavailable(reason));
    ++broken;
  };
  {
    const auto session = GatewaySession::Start(options);
    ASSERT_TRUE(session->WaitUntilOpen().ok());
    SendPackets(session.get(), 200, 10'000);
    const auto receipt = session->Close(kPatience);
    ASSERT_TRUE(receipt.ok()) << receipt.status();
  }
  EXPECT_EQ(broken, 1);
  EXPECT_EQ(ingest_.streams(), 2);
  for (const auto side : {SIDE_RESIDENT, SIDE_CLERK}) {
    ExpectComplete(ingest_.sequences(side), 200);
    // Something was said twice, but not everything.
    EXPECT_GT(ingest_.sequences(side).size(), 200u);
    EXPECT_LT(ingest_.sequences(side).size(), 300u);
  }
}

TEST_F(GatewaySessionTest, FindsAnArchiveThatCameBackElsewhere) {
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status*) {
    ingest_.Answer(request, out);
    return request.has_close();
  };
  StartServer();
  const auto session = GatewaySession::Start(Options());
  ASSERT_TRUE(session->WaitUntilOpen().ok());
  SendPackets(session.get(), 5);
  ingest_.WaitForPackets(SIDE_CLERK, 5);
  const int old_port = port_;
  server_->Shutdown(std::chrono::system_clock::now());
  StartServer();
  EXPECT_NE(port_, old_port);
  SendPackets(session.get(), 5);
  ASSERT_TRUE(session->Close(kPatience).ok());
  ExpectComplete(ingest_.sequences(SIDE_CLERK), 10);
}

TEST_F(GatewaySessionTest, AFullBufferRefusesAtOnceAndCounts) {
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status*) {
    // Nothing is durable before the close.
    ingest_.Answer(request, out, /*durable=*/false);
    return request.has_close();
  };
  StartServer();
  SessionOptions options = Options();
  options.buffer_bytes = 55'000;
  const auto session = GatewaySession::Start(std::move(options));
  ASSERT_TRUE(session->WaitUntilOpen().ok());
  int taken = 0;
  absl::Status last;
  while ((last = session->SendPacket(SIDE_CLERK, PacketOf(SIDE_CLERK, 10'000)))
             .ok()) {
    ++taken;
  }
  EXPECT_EQ(taken, 5);
  EXPECT_TRUE(absl::IsResourceExhausted(last));
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      session->WaitForRoom(SIDE_CLERK, absl::ZeroDuration())));
  const SideCounters counters = session->counters().sides[SIDE_CLERK];
  EXPECT_EQ(counters.accepted, 5u);
  EXPECT_EQ(counters.dropped, 1u);
  // What was taken is whole: a dropped packet has no number.
  ASSERT_TRUE(session->Close(kPatience).ok());
  ExpectComplete(ingest_.sequences(SIDE_CLERK), 5);
}

TEST_F(GatewaySessionTest, AStreamThatWasTakenOverIsNotMadeAgain) {
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status* status) {
    ingest_.Answer(request, out);
    if (!request.has_packets()) return false;
    api::v1::ErrorDetail detail;
    detail.set_reason("TAKEN_OVER");
    detail.set_retryable(true);
    *status = base::ToGrpcStatus(
        base::MakeError(absl::StatusCode::kAborted, "taken over", detail));
    return true;
  };
  StartServer();
  const auto session = GatewaySession::Start(Options());
  ASSERT_TRUE(session->WaitUntilOpen().ok());
  SendPackets(session.get(), 1);
  EXPECT_TRUE(absl::IsAborted(session->Close(kPatience).status()));
  EXPECT_EQ(ingest_.streams(), 1);
}

TEST_F(GatewaySessionTest, WaitsAsLongAsARefusingArchiveAsks) {
  constexpr absl::Duration kAsked = absl::Milliseconds(300);
  base::Mutex mutex;
  absl::Time refused;
  absl::Duration waited;
  ingest_.script = [&](int stream, const RecordRequest& request,
                       ServerStream* out, grpc::Status* status) {
    if (request.has_open()) {
      base::MutexLock lock(&mutex);
      if (stream == 0) {
        refused = absl::Now();
        api::v1::ErrorDetail detail;
        detail.set_retryable(true);
        detail.set_retry_after_ms(300);
        *status = base::ToGrpcStatus(base::MakeError(
            absl::StatusCode::kResourceExhausted, "no room", detail));
        return true;
      }
      waited = absl::Now() - refused;
    }
    ingest_.Answer(request, out);
    return request.has_close();
  };
  StartServer();
  const auto session = GatewaySession::Start(Options());
  SendPackets(session.get(), 1);
  ASSERT_TRUE(session->Close(kPatience).ok());
  base::MutexLock lock(&mutex);
  EXPECT_GE(waited, kAsked);
}

TEST_F(GatewaySessionTest, AnErrorOfOneSideLeavesTheOther) {
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status* status) {
    ingest_.Answer(request, out);
    if (request.has_open()) {
      RecordResponse response;
      response.mutable_side_failed()->set_side(SIDE_CLERK);
      *response.mutable_side_failed()->mutable_status() =
          base::ToRpcStatus(absl::InvalidArgumentError("no good"));
      out->Write(response);
    }
    *status = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no good");
    return request.has_close();
  };
  StartServer();
  const auto session = GatewaySession::Start(Options());
  ASSERT_TRUE(session->WaitUntilOpen().ok());
  while (session->SendPacket(SIDE_CLERK, PacketOf(SIDE_CLERK)).ok()) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(absl::IsInvalidArgument(session->side_status(SIDE_CLERK)));
  EXPECT_TRUE(session->side_status(SIDE_RESIDENT).ok());
  EXPECT_TRUE(session->SendPacket(SIDE_RESIDENT, PacketOf(SIDE_RESIDENT)).ok());
  ASSERT_TRUE(session->Close(kPatience).ok());
  const api::v1::Close close = ingest_.requests().back().close();
  ASSERT_EQ(close.sides_size(), 1);
  EXPECT_EQ(close.sides(0).side(), SIDE_RESIDENT);
}

TEST_F(GatewaySessionTest, WhatCanNeverSucceedFailsAtOnce) {
  ingest_.script = [](int, const RecordRequest&, ServerStream*,
                      grpc::Status* status) {
    *status = grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "not you");
    return true;
  };
  StartServer();
  const auto session = GatewaySession::Start(Options());
  EXPECT_TRUE(absl::IsPermissionDenied(session->WaitUntilOpen()));
  EXPECT_EQ(ingest_.streams(), 1);
  EXPECT_TRUE(absl::IsPermissionDenied(session->Close(kPatience).status()));
}

TEST_F(GatewaySessionTest, NobodyThereIsUnavailable) {
  StartServer();
  server_->Shutdown(std::chrono::system_clock::now());
  SessionOptions options = Options();
  options.first_connect_timeout = absl::Milliseconds(50);
  const auto session = GatewaySession::Start(std::move(options));
  EXPECT_TRUE(absl::IsUnavailable(session->WaitUntilOpen()));
}

TEST_F(GatewaySessionTest, ReconnectsWhenTheArchiveDrains) {
  ingest_.script = [&](int stream, const RecordRequest& request,
                       ServerStream* out, grpc::Status*) {
    ingest_.Answer(request, out);
    if (stream == 0 && request.has_packets()) {
      RecordResponse draining;
      draining.mutable_draining();
      out->Write(draining);
      return true;
    }
    return request.has_close();
  };
  StartServer();
  const auto session = GatewaySession::Start(Options());
  ASSERT_TRUE(session->WaitUntilOpen().ok());
  SendPackets(session.get(), 300, 10'000);
  ASSERT_TRUE(session->Close(kPatience).ok());
  EXPECT_EQ(ingest_.streams(), 2);
  ExpectComplete(ingest_.sequences(SIDE_RESIDENT), 300);
}

TEST_F(GatewaySessionTest, ASessionThatWasClosedBeforeGivesItsReceipt) {
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status*) {
    RecordResponse response;
    response.mutable_receipt()->set_session_id(request.open().session_id());
    out->Write(response);
    return true;
  };
  StartServer();
  const auto session = GatewaySession::Start(Options());
  ASSERT_TRUE(session->WaitUntilOpen().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      session->SendPacket(SIDE_CLERK, PacketOf(SIDE_CLERK))));
  const auto receipt = session->Close(kPatience);
  ASSERT_TRUE(receipt.ok());
  EXPECT_FALSE(receipt->session_id().empty());
}

TEST_F(GatewaySessionTest, PassesOnKeyframeWishes) {
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status*) {
    if (request.has_packets()) {
      RecordResponse response;
      response.mutable_keyframe_wanted()->set_track_id(9);
      out->Write(response);
    }
    ingest_.Answer(request, out);
    return request.has_close();
  };
  StartServer();
  SessionOptions options = Options();
  base::Mutex mutex;
  uint32_t wanted = 0;
  options.on_keyframe_wanted = [&](uint32_t track_id) {
    base::MutexLock lock(&mutex);
    wanted = track_id;
  };
  {
    const auto session = GatewaySession::Start(std::move(options));
    ASSERT_TRUE(session->WaitUntilOpen().ok());
    SendPackets(session.get(), 1);
    ASSERT_TRUE(session->Close(kPatience).ok());
  }
  base::MutexLock lock(&mutex);
  EXPECT_EQ(wanted, 9u);
}

}  // namespace
}  // namespace diptych::gateway
