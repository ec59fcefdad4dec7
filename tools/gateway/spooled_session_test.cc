// Sessions with a spool: over crashes, slow disks and long breaks.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/ingest.grpc.pb.h"
#include "tools/gateway/fake_ingest.h"
#include "tools/gateway/gateway_session.h"

namespace diptych::gateway {
namespace {

namespace fs = std::filesystem;
using api::v1::RecordRequest;
using api::v1::SIDE_CLERK;
using ServerStream = FakeIngest::ServerStream;

constexpr absl::Duration kPatience = absl::Seconds(30);

// A disk whose writes stand still until they are let go, or fail.
class StuckFile : public base::AppendFile {
 public:
  StuckFile(std::unique_ptr<base::AppendFile> file, base::Mutex* gate,
            const std::atomic<bool>* full)
      : file_(std::move(file)), gate_(gate), full_(full) {}

  absl::StatusOr<uint64_t> Reserve(uint64_t end_bytes) override {
    return file_->Reserve(end_bytes);
  }
  absl::Status ReleaseReserved() override { return file_->ReleaseReserved(); }
  absl::Status Append(absl::Span<const absl::string_view> pieces) override {
    base::MutexLock lock(gate_);
    if (*full_) return absl::ResourceExhaustedError("no space");
    return file_->Append(pieces);
  }
  absl::Status CutTo(uint64_t size_bytes) override {
    return file_->CutTo(size_bytes);
  }
  absl::Status Sync() override { return file_->Sync(); }
  uint64_t size() const override { return file_->size(); }

 private:
  const std::unique_ptr<base::AppendFile> file_;
  base::Mutex* const gate_;
  const std::atomic<bool>* const full_;
};

class StuckDisk : public base::FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<base::AppendFile>> OpenForAppend(
      const std::string& path) override {
    auto file = Real()->OpenForAppend(path);
    if (!file.ok()) return file.status();
    return std::make_unique<StuckFile>(*std::move(file), &gate, &full);
  }
  absl::StatusOr<std::unique_ptr<base::ReadFile>> OpenForRead(
      const std::string& path) override {
    return Real()->OpenForRead(path);
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) override {
    return Real()->List(directory);
  }
  absl::Status CreateDirectory(const std::string& path) override {
    return Real()->CreateDirectory(path);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    return Real()->SyncDirectory(path);
  }
  absl::Status Truncate(const std::string& path, uint64_t size) override {
    return Real()->Truncate(path, size);
  }
  absl::Status WriteFile(const std::string& path,
                         absl::string_view content) override {
    return Real()->WriteFile(path, content);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return Real()->Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    return Real()->Remove(path);
  }
  absl::StatusOr<base::DiskSpace> Space(const std::string& path) override {
    return Real()->Space(path);
  }

  base::Mutex gate;
  std::atomic<bool> full = false;
};

class SpooledSessionTest : public testing::Test {
 protected:
  SpooledSessionTest() {
    options_.connect = [this] {
      return grpc::CreateChannel("127.0.0.1:" + std::to_string(port_),
                                 grpc::InsecureChannelCredentials());
    };
    options_.session_id = base::Uuid::Random();
    options_.start_time = absl::FromUnixSeconds(1'700'000'000);
    options_.reconnect_min = absl::Milliseconds(1);
    options_.reconnect_max = absl::Milliseconds(20);
    options_.sides.emplace_back().set_side(SIDE_CLERK);
    options_.sides[0].add_tracks()->set_track_id(9);
    options_.spool.directory =
        testing::TempDir() + "/spooled-" + options_.session_id.ToString();
    ingest_.script = [this](int, const RecordRequest& request,
                            ServerStream* out, grpc::Status*) {
      ingest_.Answer(request, out);
      return request.has_close();
    };
  }
  ~SpooledSessionTest() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    fs::remove_all(options_.spool.directory);
  }

  void StartServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&ingest_);
    server_ = builder.BuildAndStart();
  }

  static void Send(GatewaySession* session, int count, size_t bytes = 100) {
    for (int i = 0; i < count; ++i) {
      api::v1::Packet packet;
      packet.set_track_id(9);
      packet.set_payload(std::string(bytes, 'x'));
      ASSERT_TRUE(session->SendPacket(SIDE_CLERK, std::move(packet)).ok()) << i;
    }
  }

  static SideCounters Of(const GatewaySession& session) {
    return session.counters().sides[SIDE_CLERK];
  }

  static void ExpectEachOnce(const std::vector<uint64_t>& sequences,
                             uint64_t first, uint64_t last) {
    ASSERT_EQ(sequences.size(), last - first + 1);
    for (size_t i = 0; i < sequences.size(); ++i) {
      ASSERT_EQ(sequences[i], first + i);
    }
  }

  SessionOptions options_;
  FakeIngest ingest_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 1;
};

TEST_F(SpooledSessionTest, GoesOnWithWhatAnEarlierOneLeft) {
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 100);
    api::v1::Note note;
    note.mutable_tag()->set_key("clerk");
    note.mutable_tag()->set_operation(api::v1::TAG_OPERATION_SET);
    ASSERT_TRUE(session->SendNote(SIDE_CLERK, note).ok());
  }
  StartServer();
  // Some had arrived.
  ingest_.Have(SIDE_CLERK, 30);
  options_.continues = true;
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 50);
  ASSERT_TRUE(session->Close(kPatience).ok());
  ExpectEachOnce(ingest_.sequences(SIDE_CLERK), 31, 150);
  const SideCounters counters = Of(*session);
  EXPECT_EQ(counters.accepted, 150u);
  EXPECT_EQ(counters.acknowledged, 150u);
  EXPECT_EQ(counters.sent, 120u);
  EXPECT_EQ(counters.dropped, 0u);
  EXPECT_EQ(ingest_.requests().back().close().sides(0).final_sequence(), 150u);
}

TEST_F(SpooledSessionTest, NumbersGoOnBehindWhatTheArchiveHasInSecret) {
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 10);
  }
  options_.continues = true;
  {
    // One that dies without having reached the archive either.
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 5);
  }
  StartServer();
  // More than ever was in the spool.
  ingest_.Have(SIDE_CLERK, 17);
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 5);
  ASSERT_TRUE(session->Close(kPatience).ok());
  ExpectEachOnce(ingest_.sequences(SIDE_CLERK), 18, 27);
  EXPECT_EQ(Of(*session).acknowledged, Of(*session).accepted);
}

TEST_F(SpooledSessionTest, MemoryStaysBoundedWhileALargeSpoolFillsAndDrains) {
  constexpr int kPackets = 4000;
  constexpr size_t kPacket_bytes = 10'000;
  options_.buffer_bytes = 4 << 20;
  const auto session = GatewaySession::Start(options_);
  for (int i = 0; i < kPackets; ++i) {
    ASSERT_TRUE(session->WaitForRoom(SIDE_CLERK, kPatience).ok());
    Send(session.get(), 1, kPacket_bytes);
  }
  EXPECT_GT(session->counters().spool_bytes,
            uint64_t{kPackets} * kPacket_bytes / 2);
  StartServer();
  // Those that are new come last.
  Send(session.get(), 10, kPacket_bytes);
  ASSERT_TRUE(session->Close(kPatience).ok());
  ExpectEachOnce(ingest_.sequences(SIDE_CLERK), 1, kPackets + 10);
  EXPECT_EQ(Of(*session).dropped, 0u);
}

TEST_F(SpooledSessionTest, ADiskThatStandsStillHoldsNobodyUp) {
  StuckDisk disk;
  options_.spool.files = &disk;
  options_.buffer_bytes = 1 << 20;
  StartServer();
  auto session = GatewaySession::Start(options_);
  {
    base::MutexLock stuck(&disk.gate);
    const absl::Time began = absl::Now();
    Send(session.get(), 1000);
    EXPECT_LT(absl::Now() - began, absl::Seconds(5));
    // Nor does what goes to the archive wait.
    ingest_.WaitForPackets(SIDE_CLERK, 1000);
  }
  ASSERT_TRUE(session->Close(kPatience).ok());
  EXPECT_EQ(Of(*session).acknowledged, 1000u);
}

TEST_F(SpooledSessionTest, NothingIsSentUnderNumbersThatTheDiskDoesNotKnow) {
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 10);
  }
  StuckDisk disk;
  disk.full = true;
  options_.spool.files = &disk;
  options_.continues = true;
  base::Mutex mutex;
  base::CondVar broke;
  int breaks = 0;
  options_.on_broken = [&](const absl::Status& reason) {
    EXPECT_TRUE(absl::StrContains(reason.message(), "spool")) << reason;
    base::MutexLock lock(&mutex);
    ++breaks;
    broke.NotifyAll();
  };
  StartServer();
  ingest_.Have(SIDE_CLERK, 17);
  const auto session = GatewaySession::Start(options_);
  Send(session.get(), 5);
  {
    base::MutexLock lock(&mutex);
    while (breaks == 0) broke.Wait(&mutex);
  }
  EXPECT_TRUE(ingest_.sequences(SIDE_CLERK).empty());
  disk.full = false;
  ASSERT_TRUE(session->Close(kPatience).ok());
  ExpectEachOnce(ingest_.sequences(SIDE_CLERK), 18, 22);
}

// What an archive answers that has closed the session with so many packets.
FakeIngest::Script ClosedWith(uint64_t final_sequence) {
  return [final_sequence](int, const RecordRequest& request, ServerStream* out,
                          grpc::Status*) {
    api::v1::RecordResponse response;
    response.mutable_receipt()->set_session_id(request.open().session_id());
    auto* const totals = response.mutable_receipt()->add_sides();
    totals->set_side(SIDE_CLERK);
    totals->set_final_sequence(final_sequence);
    out->Write(response);
    return true;
  };
}

TEST_F(SpooledSessionTest, AClosedSessionThatHasEverythingLeavesNothing) {
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 10);
  }
  ingest_.script = ClosedWith(10);
  StartServer();
  options_.continues = true;
  {
    const auto session = GatewaySession::Start(options_);
    ASSERT_TRUE(session->Close(kPatience).ok());
    EXPECT_EQ(Of(*session).accepted, 10u);
    EXPECT_EQ(Of(*session).acknowledged, 10u);
  }
  EXPECT_TRUE(Spool::List(options_.spool)->empty());
}

TEST_F(SpooledSessionTest, AClosedSessionThatLacksSomethingKeepsIt) {
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 10);
  }
  ingest_.script = ClosedWith(7);
  StartServer();
  options_.continues = true;
  {
    const auto session = GatewaySession::Start(options_);
    ASSERT_TRUE(session->Close(kPatience).ok());
    EXPECT_EQ(Of(*session).accepted - Of(*session).acknowledged, 3u);
  }
  EXPECT_EQ(Spool::List(options_.spool)->size(), 1u);
}

TEST_F(SpooledSessionTest, AFullSpoolDropsAndCounts) {
  options_.buffer_bytes = 100'000;
  options_.spool.max_bytes = 100'000;
  const auto session = GatewaySession::Start(options_);
  absl::Status status;
  uint64_t taken = 0;
  while (!absl::IsResourceExhausted(status)) {
    ASSERT_LT(taken, 100u);
    session->WaitForRoom(SIDE_CLERK, absl::Seconds(3)).IgnoreError();
    api::v1::Packet packet;
    packet.set_track_id(9);
    packet.set_payload(std::string(20'000, 'x'));
    status = session->SendPacket(SIDE_CLERK, std::move(packet));
    if (status.ok()) ++taken;
  }
  const SideCounters counters = Of(*session);
  EXPECT_EQ(counters.accepted, taken);
  EXPECT_EQ(counters.dropped, 1u);
  EXPECT_FALSE(session->counters().spool_status.ok());
  StartServer();
  ASSERT_TRUE(session->Close(kPatience).ok());
  // What was taken is whole.
  ExpectEachOnce(ingest_.sequences(SIDE_CLERK), 1, taken);
}

TEST_F(SpooledSessionTest, NothingStaysOfASessionThatIsClosed) {
  StartServer();
  {
    const auto session = GatewaySession::Start(options_);
    Send(session.get(), 100);
    ASSERT_TRUE(session->Close(kPatience).ok());
  }
  const std::vector<std::string> left = *Spool::List(options_.spool);
  EXPECT_TRUE(left.empty());
}

}  // namespace
}  // namespace diptych::gateway
