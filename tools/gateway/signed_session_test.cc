// A session with a signer, over real streams: what the archive gets must be
// stated whole, whatever breaks on the way.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/ingest.grpc.pb.h"
#include "tools/gateway/fake_ingest.h"
#include "tools/gateway/gateway_session.h"
#include "tools/gateway/source_signer.h"
#include "tools/gateway/spool.h"
#include "tools/gateway/statement_checker.h"
#include "tools/pki/signing_key.h"

namespace diptych::gateway {
namespace {

namespace fs = std::filesystem;
using api::v1::RecordRequest;
using api::v1::RecordResponse;
using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;
using ServerStream = grpc::ServerReaderWriter<RecordResponse, RecordRequest>;

constexpr absl::Duration kPatience = absl::Seconds(20);
constexpr absl::Duration kShort = absl::Milliseconds(500);
constexpr uint32_t kVideo = 9;
constexpr uint32_t kSound = 10;

class SignedSessionTest : public testing::Test {
 protected:
  SignedSessionTest() {
    options_.connect = [this] {
      return grpc::CreateChannel("127.0.0.1:" + std::to_string(port_),
                                 grpc::InsecureChannelCredentials());
    };
    options_.session_id = base::Uuid::Random();
    options_.start_time = absl::FromUnixSeconds(1'700'000'000);
    options_.reconnect_min = absl::Milliseconds(1);
    options_.reconnect_max = absl::Milliseconds(20);
    options_.repeatable = true;
    options_.sides.emplace_back().set_side(SIDE_CLERK);
    *options_.sides[0].add_tracks() = TrackOf(kVideo);
    *options_.sides[0].add_tracks() = TrackOf(kSound);
    options_.source_signer = NewSigner();
    ingest_.script = [this](int, const RecordRequest& request,
                            ServerStream* out, grpc::Status*) {
      ingest_.Answer(request, out);
      return request.has_close();
    };
  }
  ~SignedSessionTest() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    fs::remove_all(directory_);
  }

  std::shared_ptr<const SourceSigner> NewSigner() {
    return *SourceSigner::Make(pki::MakeSigningKey()->private_key_pem,
                               archive_id_);
  }

  void UseSpool() { options_.spool.directory = directory_; }

  void StartServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&ingest_);
    server_ = builder.BuildAndStart();
  }

  static api::v1::Track TrackOf(uint32_t id) {
    api::v1::Track track;
    track.set_track_id(id);
    track.set_codec(id == kSound ? api::v1::CODEC_OPUS : api::v1::CODEC_VP8);
    return track;
  }

  // Alternating between the tracks, half a second after the one before.
  api::v1::Packet NextPacket() {
    const uint64_t number = made_++;
    api::v1::Packet packet;
    packet.set_track_id(number % 2 == 0 ? kVideo : kSound);
    packet.set_pts_us(static_cast<int64_t>(number) * 500'000 - 300);
    packet.set_dts_us(packet.pts_us());
    packet.set_key_frame(true);
    packet.set_payload(absl::StrCat("packet ", number));
    return packet;
  }
  void Send(GatewaySession* session, int count) {
    for (int i = 0; i < count; ++i) {
      // What a spool holds may fill the memory for a while.
      const absl::Status room = session->WaitForRoom(SIDE_CLERK, kPatience);
      ASSERT_TRUE(room.ok()) << room;
      const absl::Status sent = session->SendPacket(SIDE_CLERK, NextPacket());
      ASSERT_TRUE(sent.ok()) << sent;
    }
  }

  StatementChecker Checker() const {
    return StatementChecker(options_.source_signer->public_key(), archive_id_,
                            options_.session_id);
  }

  const base::Uuid archive_id_ = base::Uuid::Random();
  SessionOptions options_;
  const std::string directory_ =
      absl::StrCat(testing::TempDir(), "/signed-", archive_id_.ToString());
  FakeIngest ingest_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 1;
  uint64_t made_ = 0;
};

TEST_F(SignedSessionTest, EveryTenSecondsOfATrackAndTheEndAreStated) {
  StartServer();
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 45);
  ASSERT_TRUE(session->Close(kPatience).ok());
  StatementChecker checker = Checker();
  checker.TakeAll(ingest_.requests());
  EXPECT_EQ(checker.wrong(), "");
  EXPECT_EQ(checker.StatementsOf(kVideo), "1-20/10 21-40/10 41-45/3");
  EXPECT_EQ(checker.StatementsOf(kSound), "1-20/10 21-40/10 41-45/2");
  const SideCounters counters = session->counters().sides[SIDE_CLERK];
  EXPECT_EQ(counters.statements, 6u);
  EXPECT_EQ(counters.signed_packets, 45u);
  const auto last = ingest_.requests().back().close().sides(0);
  EXPECT_EQ(last.final_note_sequence(), 6u);
}

TEST_F(SignedSessionTest, WithoutAKeyNothingIsStated) {
  options_.source_signer = nullptr;
  StartServer();
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 45);
  ASSERT_TRUE(session->Close(kPatience).ok());
  EXPECT_EQ(ingest_.requests().back().close().sides(0).final_note_sequence(),
            0u);
  EXPECT_EQ(session->counters().sides[SIDE_CLERK].statements, 0u);
}

TEST_F(SignedSessionTest, OneStatementHasABoundedNumberOfPackets) {
  StartServer();
  const auto session = GatewaySession::Start(options_);
  constexpr uint64_t kPackets = 20'000;
  for (uint64_t i = 0; i < kPackets; ++i) {
    api::v1::Packet packet;
    packet.set_track_id(kSound);
    packet.set_payload(std::to_string(i));
    ASSERT_TRUE(session->SendPacket(SIDE_CLERK, std::move(packet)).ok());
  }
  ASSERT_TRUE(session->Close(kPatience).ok());
  StatementChecker checker = Checker();
  checker.TakeAll(ingest_.requests());
  EXPECT_EQ(checker.wrong(), "");
  const uint64_t most = limits::kMaxSourceRun_packets;
  EXPECT_EQ(checker.StatementsOf(kSound),
            absl::StrCat("1-", most, "/", most, " ", most + 1, "-", 2 * most,
                         "/", most, " ", 2 * most + 1, "-", kPackets, "/",
                         kPackets - 2 * most));
  EXPECT_EQ(checker.Unsigned(SIDE_CLERK), std::vector<uint64_t>());
}

TEST_F(SignedSessionTest, TracksThatChangeEndWhatIsStated) {
  StartServer();
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 5);
  ASSERT_TRUE(session->ChangeTracks(SIDE_CLERK, {TrackOf(kSound)}).ok());
  ++made_;
  api::v1::Packet sound = NextPacket();
  sound.set_track_id(kSound);
  ASSERT_TRUE(session->SendPacket(SIDE_CLERK, sound).ok());
  ASSERT_TRUE(
      session->ChangeTracks(SIDE_CLERK, {TrackOf(kVideo), TrackOf(kSound)})
          .ok());
  made_ = 10;
  Send(session.get(), 2);
  ASSERT_TRUE(session->Close(kPatience).ok());
  StatementChecker checker = Checker();
  checker.TakeAll(ingest_.requests());
  EXPECT_EQ(checker.wrong(), "");
  EXPECT_EQ(checker.StatementsOf(kVideo), "1-5/3 7-8/1");
  EXPECT_EQ(checker.StatementsOf(kSound), "1-5/2 6-6/1 7-8/1");
}

TEST_F(SignedSessionTest, BreaksChangeNothing) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    FakeIngest ingest;
    std::mt19937 random(seed);
    ingest.script = [&](int stream, const RecordRequest& request,
                        ServerStream* out, grpc::Status* status) {
      if (!request.has_open() && stream < 5 && random() % 4 == 0) {
        *status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
        return true;
      }
      ingest.Answer(request, out, /*durable=*/random() % 3 == 0);
      return request.has_close();
    };
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&ingest);
    const auto server = builder.BuildAndStart();
    options_.session_id = base::Uuid::Random();
    made_ = 0;
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 205);
    ASSERT_TRUE(session->Close(kPatience).ok()) << seed;
    StatementChecker checker = Checker();
    checker.TakeAll(ingest.requests());
    EXPECT_EQ(checker.wrong(), "") << seed;
    EXPECT_EQ(checker.StatementsOf(kVideo),
              "1-20/10 21-40/10 41-60/10 61-80/10 81-100/10 101-120/10 "
              "121-140/10 141-160/10 161-180/10 181-200/10 201-205/3")
        << seed;
    EXPECT_EQ(session->counters().sides[SIDE_CLERK].statements, 22u) << seed;
    server->Shutdown(std::chrono::system_clock::now());
  }
}

TEST_F(SignedSessionTest, WhatASpoolKeepsIsStatedByWhoeverSendsIt) {
  UseSpool();
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 45);
  }
  StartServer();
  options_.continues = true;
  // Another key: statements are signed by whoever sends them.
  options_.source_signer = NewSigner();
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 5);
  ASSERT_TRUE(session->Close(kPatience).ok());
  StatementChecker checker = Checker();
  checker.TakeAll(ingest_.requests());
  EXPECT_EQ(checker.wrong(), "");
  EXPECT_EQ(checker.StatementsOf(kVideo), "1-20/10 21-40/10 41-45/3 46-50/2");
  EXPECT_EQ(checker.Unsigned(SIDE_CLERK), std::vector<uint64_t>());
}

TEST_F(SignedSessionTest, WhatAKilledProcessDidNotStateIsStatedFromItsSpool) {
  UseSpool();
  // It had no key: so far as its spool tells, one that was killed.
  const auto signer = options_.source_signer;
  options_.source_signer = nullptr;
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 15);
  }
  StartServer();
  options_.source_signer = signer;
  options_.continues = true;
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 5);
  ASSERT_TRUE(session->Close(kPatience).ok());
  StatementChecker checker = Checker();
  checker.TakeAll(ingest_.requests());
  EXPECT_EQ(checker.wrong(), "");
  EXPECT_EQ(checker.StatementsOf(kVideo), "1-15/8 16-20/2");
  EXPECT_EQ(checker.StatementsOf(kSound), "1-15/7 16-20/3");
  EXPECT_EQ(checker.Unsigned(SIDE_CLERK), std::vector<uint64_t>());
}

TEST_F(SignedSessionTest, NumbersThatGrowAreSignedAsTheyAreInTheEnd) {
  UseSpool();
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 10);
  }
  // What it sent beside, and the archive has.
  RecordRequest in_secret;
  const uint64_t made = made_;
  made_ = 0;
  for (uint64_t number = 1; number <= 17; ++number) {
    api::v1::Packet packet = NextPacket();
    packet.set_sequence(number);
    *in_secret.mutable_packets()->add_packets() = packet;
  }
  made_ = made;
  options_.continues = true;
  {
    // One that dies without having reached the archive either.
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 25);
  }
  StartServer();
  ingest_.Have(SIDE_CLERK, 17);
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 5);
  ASSERT_TRUE(session->Close(kPatience).ok());
  StatementChecker checker = Checker();
  RecordRequest tracks;
  *tracks.mutable_open()->add_sides() = options_.sides[0];
  checker.Take(tracks);
  checker.Take(in_secret);
  checker.TakeAll(ingest_.requests());
  EXPECT_EQ(checker.wrong(), "");
  // 11 to 17 lie in no spool.
  EXPECT_EQ(checker.StatementsOf(kVideo), "1-10/5 18-37/10 38-42/3 43-47/2");
  EXPECT_EQ(checker.Unsigned(SIDE_CLERK),
            (std::vector<uint64_t>{11, 12, 13, 14, 15, 16, 17}));
}

// A process is killed at any moment, with an archive that answers up to any
// moment before: whoever goes on states all that it sends, and all of it truly.
TEST_F(SignedSessionTest, AKilledProcessLeavesNothingFalse) {
  UseSpool();
  options_.buffer_bytes = 400'000;
  const std::string crashed = directory_ + "-crashed";
  for (uint32_t seed = 0; seed < 25; ++seed) {
    std::mt19937 random(seed);
    FakeIngest ingest;
    std::atomic<int> answers = static_cast<int>(random() % 30);
    ingest.script = [&](int, const RecordRequest& request, ServerStream* out,
                        grpc::Status* status) {
      if (--answers < 0) {
        *status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
        return true;
      }
      ingest.Answer(request, out);
      return request.has_close();
    };
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&ingest);
    auto server = builder.BuildAndStart();
    options_.session_id = base::Uuid::Random();
    options_.continues = false;
    options_.spool.directory = directory_;
    made_ = 0;
    {
      const auto session = GatewaySession::Start(options_);
      const int packets = 100 + static_cast<int>(random() % 400);
      for (int i = 0; i < packets; ++i) {
        // What was sent and not answered stays in so little memory, and what
        // is read back from the disk comes in larger pieces.
        if (!session->WaitForRoom(SIDE_CLERK, kShort).ok()) break;
        api::v1::Packet packet = NextPacket();
        packet.mutable_payload()->append(std::string(5'000, 'x'));
        const absl::Status sent =
            session->SendPacket(SIDE_CLERK, std::move(packet));
        if (absl::IsResourceExhausted(sent)) break;
        ASSERT_TRUE(sent.ok()) << sent;
      }
      // From here on the archive hears nothing more of this process.
      answers = 0;
      server->Shutdown(std::chrono::system_clock::now());
      fs::remove_all(crashed);
      fs::copy(directory_, crashed, fs::copy_options::recursive);
    }
    fs::remove_all(directory_);
    StatementChecker checker = Checker();
    checker.TakeAll(ingest.requests());
    const auto sequences = ingest.sequences(SIDE_CLERK);
    const uint64_t had = sequences.empty() ? 0 : sequences.back();
    uint64_t had_notes = 0;
    for (const RecordRequest& request : ingest.requests()) {
      for (const auto& note : request.notes().notes()) {
        had_notes = std::max<uint64_t>(had_notes, note.note_sequence());
      }
    }

    FakeIngest later;
    later.Have(SIDE_CLERK, had, had_notes);
    later.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status*) {
      later.Answer(request, out);
      return request.has_close();
    };
    grpc::ServerBuilder another;
    another.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    another.RegisterService(&later);
    server = another.BuildAndStart();
    options_.continues = true;
    options_.spool.directory = crashed;
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 30);
    ASSERT_TRUE(session->Close(kPatience).ok()) << seed;
    checker.TakeAll(later.requests());
    EXPECT_EQ(checker.wrong(), "") << seed;
    for (const uint64_t number : checker.Unsigned(SIDE_CLERK)) {
      EXPECT_LE(number, had) << seed;
    }
    EXPECT_EQ(later.sequences(SIDE_CLERK).front(), had + 1) << seed;
    server->Shutdown(std::chrono::system_clock::now());
  }
  fs::remove_all(crashed);
}

TEST_F(SignedSessionTest, StatementsInASpoolWantAKey) {
  UseSpool();
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 45);
  }
  StartServer();
  options_.continues = true;
  options_.source_signer = nullptr;
  {
    const auto session = GatewaySession::Start(options_);
    const absl::Status status = session->Close(kPatience).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "source key")) << status;
  }
  // It is still there for somebody who has one.
  EXPECT_EQ(Spool::List(options_.spool)->size(), 1u);
}

TEST_F(SignedSessionTest, ALargeSpoolIsStatedOnItsWayOut) {
  UseSpool();
  options_.buffer_bytes = 1 << 20;
  const auto session = GatewaySession::Start(options_);
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(session->WaitForRoom(SIDE_CLERK, kPatience).ok());
    api::v1::Packet packet = NextPacket();
    packet.mutable_payload()->append(std::string(10'000, 'x'));
    ASSERT_TRUE(session->SendPacket(SIDE_CLERK, std::move(packet)).ok());
  }
  StartServer();
  ASSERT_TRUE(session->Close(kPatience).ok());
  StatementChecker checker = Checker();
  checker.TakeAll(ingest_.requests());
  EXPECT_EQ(checker.wrong(), "");
  EXPECT_EQ(checker.Unsigned(SIDE_CLERK), std::vector<uint64_t>());
  EXPECT_EQ(session->counters().sides[SIDE_CLERK].statements, 60u);
}

TEST_F(SignedSessionTest, ARerunHasItsStatementsAtTheSamePlaces) {
  const auto notes_of = [this](bool slowly) {
    made_ = 0;
    options_.session_id = base::Uuid::Random();
    const size_t before = ingest_.requests().size();
    const auto session = GatewaySession::Start(options_);
    for (int i = 0; i < 9; ++i) {
      Send(session.get(), 10);
      // Batches and what is on the wire fall otherwise.
      if (slowly && i == 4) ingest_.WaitForPackets(SIDE_CLERK, 50);
      api::v1::Note event;
      event.mutable_event()->set_type("mark");
      EXPECT_TRUE(session->SendNote(SIDE_CLERK, event).ok());
    }
    EXPECT_TRUE(session->Close(kPatience).ok());
    std::string notes;
    const auto requests = ingest_.requests();
    for (size_t i = before; i < requests.size(); ++i) {
      for (const auto& note : requests[i].notes().notes()) {
        notes += note.has_event() ? 'e' : 's';
      }
    }
    return notes;
  };
  ingest_.script = [](int, const RecordRequest& request, ServerStream* out,
                      grpc::Status*) {
    RecordResponse response;
    if (request.has_open()) {
      auto* const progress = response.mutable_opened()->add_progress();
      progress->set_side(SIDE_CLERK);
    } else if (request.has_close()) {
      response.mutable_receipt()->set_session_id("any");
    } else {
      return false;
    }
    out->Write(response);
    return request.has_close();
  };
  StartServer();
  const std::string once = notes_of(/*slowly=*/true);
  EXPECT_EQ(once, "eesseesseesseesse" + std::string("ss"));
  EXPECT_EQ(notes_of(/*slowly=*/false), once);
}

TEST_F(SignedSessionTest, AnArchiveThatRefusesAStatementEndsTheSession) {
  std::atomic<bool> refused = false;
  ingest_.script = [&](int, const RecordRequest& request, ServerStream* out,
                       grpc::Status* status) {
    if (request.has_notes()) {
      refused = true;
      *status = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                             "signed by a key that the archive does not know");
      return true;
    }
    ingest_.Answer(request, out);
    return request.has_close();
  };
  StartServer();
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 5);
  const absl::Status status = session->Close(kPatience).status();
  EXPECT_TRUE(refused);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

}  // namespace
}  // namespace diptych::gateway
