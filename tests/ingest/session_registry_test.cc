#include "archiver/ingest/session_registry.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/evidence/manifest.h"
#include "archiver/ingest/session.h"
#include "archiver/log/committer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_opener.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;
using log::RecordType;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr absl::Duration kPatience = absl::Seconds(20);

// A clock that only the test moves.
class FakeClock final : public base::Clock {
 public:
  absl::Time Now() override {
    base::MutexLock lock(&mutex_);
    return absl::FromUnixSeconds(1'800'000'000) + passed_;
  }
  absl::Duration Monotonic() override {
    base::MutexLock lock(&mutex_);
    return passed_;
  }
  void Advance(absl::Duration duration) {
    base::MutexLock lock(&mutex_);
    passed_ += duration;
  }

 private:
  base::Mutex mutex_;
  absl::Duration passed_ ABSL_GUARDED_BY(mutex_);
};

// A gateway's end that remembers what it was told.
class FakeSink final : public StreamSink {
 public:
  void Send(api::v1::RecordResponse response) override {
    base::MutexLock lock(&mutex_);
    responses_.push_back(std::move(response));
    changed_.NotifyAll();
  }
  void SendDurable(const api::v1::SideProgress& progress) override {
    base::MutexLock lock(&mutex_);
    durable_[progress.side()] = progress;
    changed_.NotifyAll();
  }
  void Finish(const absl::Status& status) override {
    base::MutexLock lock(&mutex_);
    if (!finished_.has_value()) finished_ = status;
    changed_.NotifyAll();
  }
  void Resume() override {}

  api::v1::Opened WaitOpened() {
    api::v1::Opened opened;
    Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      for (const auto& response : responses_) {
        if (!response.has_opened()) continue;
        opened = response.opened();
        return true;
      }
      return false;
    });
    return opened;
  }
  api::v1::Receipt WaitReceipt() {
    api::v1::Receipt receipt;
    Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      for (const auto& response : responses_) {
        if (!response.has_receipt()) continue;
        receipt = response.receipt();
        return true;
      }
      return false;
    });
    return receipt;
  }
  void WaitDurable(api::v1::Side side, uint64_t sequence) {
    Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return durable_[side].sequence() >= sequence;
    });
  }
  void WaitNotesDurable(api::v1::Side side, uint64_t note) {
    Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return durable_[side].note_sequence() >= note;
    });
  }
  absl::Status WaitFinished() {
    absl::Status status;
    Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      if (!finished_.has_value()) return false;
      status = *finished_;
      return true;
    });
    return status;
  }
  uint64_t durable(api::v1::Side side) {
    base::MutexLock lock(&mutex_);
    return durable_[side].sequence();
  }

 private:
  void Wait(const std::function<bool()>& done) {
    base::MutexLock lock(&mutex_);
    while (!done()) {
      ASSERT_TRUE(changed_.WaitWithTimeout(&mutex_, kPatience));
    }
  }

  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<api::v1::RecordResponse> responses_ ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, api::v1::SideProgress> durable_
      ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> finished_ ABSL_GUARDED_BY(mutex_);
};

api::v1::Track MakeTrack(uint32_t id, api::v1::Side side) {
  api::v1::Track track;
  track.set_track_id(id);
  track.set_side(side);
  track.set_source(api::v1::SOURCE_MICROPHONE);
  track.set_codec(api::v1::CODEC_G711_ALAW);
  track.set_sample_rate_hz(8000);
  track.set_channels(1);
  return track;
}

class SessionRegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/ingest-" + base::Uuid::Random().ToString();
    std::filesystem::create_directories(root_);
    archive_.set_archive_id(std::string(archive_id_.bytes()));
    archive_.set_suite(1);
    stored::v1::Recipient* recipient = archive_.add_recipients();
    recipient->set_name("audit");
    recipient->set_public_key(audit_.public_key);
    recipient->add_classes(stored::v1::KEY_CLASS_MEDIA);
    recipient->add_classes(stored::v1::KEY_CLASS_METADATA);
    StartWriter();
  }
  void TearDown() override {
    StopWriter();
    std::filesystem::remove_all(root_);
  }

  std::unique_ptr<log::LogStore> OpenStore(const std::string& name) {
    log::RecoveryReport report;
    return log::OpenLocalLogStore(base::FileSystem::Real(), &clock_,
                                  {.directory = root_ + "/" + name,
                                   .lost_and_found = root_ + "/lost",
                                   .archive_id = archive_id_,
                                   .store = name,
                                   .volume_max_bytes = 1 << 20},
                                  &report)
        .value();
  }

  void StartWriter() {
    keys_ = OpenStore("keys");
    log_ = OpenStore("log");
    reader_ = std::make_unique<log::LogReader>(base::FileSystem::Real(),
                                               root_ + "/log");
    uint64_t skipped = 0;
    registry_ = std::make_unique<SessionRegistry>(
        log::RecoverOpenSessions(*reader_, &skipped).value());
    EXPECT_EQ(skipped, 0u);
    key_committer_ =
        std::make_unique<log::Committer>(keys_.get(), log::Committer::Hooks{});
    committer_ = std::make_unique<log::Committer>(
        log_.get(),
        log::Committer::Hooks{
            .snapshot = [this] { return registry_->MakeSnapshot(); },
            .on_record =
                [this](const log::Record& record, log::Position position) {
                  registry_->OnRecord(record, position);
                }});
    context_ = std::make_unique<SessionContext>();
    context_->archive = &archive_;
    context_->clock = &clock_;
    context_->log = committer_.get();
    context_->key_store = key_committer_.get();
    ASSERT_TRUE(registry_->Start(context_.get(), *reader_).ok());
  }

  // As a crash would: nothing is drained, what was submitted is on disk.
  void StopWriter() {
    key_committer_.reset();
    committer_.reset();
    registry_.reset();
    log_.reset();
    keys_.reset();
  }

  api::v1::Open MakeOpen(std::vector<api::v1::Side> sides) const {
    api::v1::Open open;
    open.set_session_id(id_.ToString());
    for (const api::v1::Side side : sides) {
      api::v1::OpenSide* added = open.add_sides();
      added->set_side(side);
      *added->add_tracks() = MakeTrack(side, side);
    }
    return open;
  }

  std::shared_ptr<Session> Open(const std::shared_ptr<FakeSink>& sink,
                                std::vector<api::v1::Side> sides) {
    auto opened = registry_->Open(sink, MakeOpen(std::move(sides)), "gateway");
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) return nullptr;
    last_opened_ = sink->WaitOpened();
    return std::get<std::shared_ptr<Session>>(*opened);
  }

  // 20 ms of sound, packet n at (n - 1) * 20 ms.
  static api::v1::Packet MakePacket(api::v1::Side side, uint64_t sequence) {
    api::v1::Packet packet;
    packet.set_track_id(side);
    packet.set_sequence(sequence);
    packet.set_pts_us(static_cast<int64_t>(sequence - 1) * 20'000);
    packet.set_dts_us(packet.pts_us());
    packet.set_duration_us(20'000);
    packet.set_key_frame(true);
    packet.set_payload(std::string(160, static_cast<char>('a' + side)));
    return packet;
  }

  void Send(Session* session, const std::shared_ptr<FakeSink>& sink,
            api::v1::Side side, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i <= to; ++i) {
      const absl::Status status = session->OnPacket(sink, MakePacket(side, i));
      ASSERT_TRUE(status.ok()) << status;
    }
    session->Tick();
  }

  static api::v1::Close MakeClose(
      const std::map<api::v1::Side, uint64_t>& finals,
      const std::map<api::v1::Side, uint64_t>& notes = {}) {
    api::v1::Close close;
    for (const auto& [side, sequence] : finals) {
      api::v1::CloseSide* end = close.add_sides();
      end->set_side(side);
      end->set_final_sequence(sequence);
      const auto note = notes.find(side);
      if (note != notes.end()) end->set_final_note_sequence(note->second);
    }
    return close;
  }

  static api::v1::Notes MakeTag(api::v1::Side side, uint64_t number,
                                int64_t at_us, const std::string& key,
                                const std::string& value) {
    api::v1::Notes notes;
    notes.set_side(side);
    api::v1::Note* note = notes.add_notes();
    note->set_note_sequence(number);
    note->set_at_us(at_us);
    note->mutable_tag()->set_key(key);
    note->mutable_tag()->add_values(value);
    note->mutable_tag()->set_operation(api::v1::TAG_OPERATION_SET);
    return notes;
  }

  template <typename Message>
  std::vector<Message> Headers(RecordType type) const {
    std::vector<Message> messages;
    EXPECT_TRUE(reader_
                    ->Scan(
                        {},
                        [&](const log::StoredRecord& record) {
                          if (record.type == type) {
                            EXPECT_TRUE(messages.emplace_back().ParseFromString(
                                record.header));
                          }
                          return absl::OkStatus();
                        },
                        [](const log::Damage& damage) {
                          ADD_FAILURE() << damage.what;
                          return absl::OkStatus();
                        })
                    .ok());
    return messages;
  }

  // Every archived packet of a side, opened with the audit key.
  std::vector<media::PacketInfo> ArchivedPackets(api::v1::Side side) const {
    const log::LogReader key_reader(base::FileSystem::Real(), root_ + "/keys");
    std::map<uint64_t, std::unique_ptr<seal::SessionOpener>> openers;
    std::vector<media::PacketInfo> packets;
    const auto scanned = reader_->Scan(
        {},
        [&](const log::StoredRecord& record) {
          if (record.type == RecordType::kSessionOpened) {
            stored::v1::SessionOpened opened;
            EXPECT_TRUE(opened.ParseFromString(record.header));
            stored::v1::KeyWraps wraps;
            EXPECT_TRUE(wraps.ParseFromString(
                key_reader.Read(opened.key_position())->body));
            std::vector<seal::KeyPair> keys;
            keys.push_back(audit_.Clone());
            openers[opened.epoch()] =
                seal::SessionOpener::Create(archive_id_, wraps, keys).value();
          }
          if (record.type != RecordType::kChunk) return absl::OkStatus();
          stored::v1::Chunk chunk;
          EXPECT_TRUE(chunk.ParseFromString(record.header));
          const auto body =
              openers.at(chunk.epoch())
                  ->Open(stored::v1::KEY_CLASS_MEDIA, record.type,
                         chunk.segment(), record.header, record.body);
          EXPECT_TRUE(body.ok()) << body.status();
          const auto decoded = media::DecodeChunkBody(*body);
          EXPECT_TRUE(decoded.ok()) << decoded.status();
          for (const media::ChunkPacket& packet : decoded->packets) {
            if (packet.info.track_id != static_cast<uint32_t>(side)) continue;
            EXPECT_EQ(std::string(packet.payload),
                      std::string(160, static_cast<char>('a' + side)));
            packets.push_back(packet.info);
          }
          return absl::OkStatus();
        },
        [](const log::Damage&) { return absl::OkStatus(); });
    EXPECT_TRUE(scanned.ok());
    return packets;
  }

  void ExpectArchived(api::v1::Side side, uint64_t count) const {
    const std::vector<media::PacketInfo> packets = ArchivedPackets(side);
    ASSERT_EQ(packets.size(), count);
    for (uint64_t i = 0; i < count; ++i) {
      EXPECT_EQ(packets[i].sequence, i + 1);
      EXPECT_EQ(packets[i].pts_us, static_cast<int64_t>(i) * 20'000);
    }
  }

  static std::string Reason(const absl::Status& status) {
    const auto detail = base::GetErrorDetail(status);
    return detail.has_value() ? detail->reason() : "";
  }

  std::string root_;
  FakeClock clock_;
  const base::Uuid archive_id_ = base::Uuid::Random();
  const base::Uuid id_ = base::Uuid::Random();
  const seal::KeyPair audit_ = seal::KeyPair::Generate("audit");
  stored::v1::ArchiveConfig archive_;
  std::unique_ptr<log::LogStore> keys_;
  std::unique_ptr<log::LogStore> log_;
  std::unique_ptr<log::LogReader> reader_;
  std::unique_ptr<SessionRegistry> registry_;
  std::unique_ptr<log::Committer> key_committer_;
  std::unique_ptr<log::Committer> committer_;
  std::unique_ptr<SessionContext> context_;
  api::v1::Opened last_opened_;
};

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
  EXPECT_EQ(Reason(session->OnPacket(old_sink, MakePacket(SIDE_CLERK, 11))),
            "UNKNOWN_TRACK");
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

  // A living stream's side with other tracks.
  const auto sink = std::make_shared<FakeSink>();
  Open(sink, {SIDE_CLERK});
  EXPECT_EQ(reason([](auto* o) {
              o->mutable_sides(1)->mutable_tracks(0)->set_channels(2);
            }),
            "SIDE_CONFLICT");
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
