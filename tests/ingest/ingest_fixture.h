#ifndef TESTS_INGEST_INGEST_FIXTURE_H_
#define TESTS_INGEST_INGEST_FIXTURE_H_

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
#include "archiver/base/errors.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/evidence/digest.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_registry.h"
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

// How long anything may take that should happen at once.
inline constexpr absl::Duration kPatience = absl::Seconds(20);

using base::FakeClock;

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
  void FailSide(api::v1::Side side, const absl::Status& status) override {
    base::MutexLock lock(&mutex_);
    failed_sides_[side] = status;
    changed_.NotifyAll();
  }
  void Resume() override {}

  absl::Status WaitSideFailed(api::v1::Side side) {
    absl::Status status;
    Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      const auto found = failed_sides_.find(side);
      if (found == failed_sides_.end()) return false;
      status = found->second;
      return true;
    });
    return status;
  }
  size_t failed_sides() {
    base::MutexLock lock(&mutex_);
    return failed_sides_.size();
  }
  // Responses of one kind so far.
  size_t Count(api::v1::RecordResponse::MessageCase kind) {
    base::MutexLock lock(&mutex_);
    size_t count = 0;
    for (const auto& response : responses_) {
      if (response.message_case() == kind) ++count;
    }
    return count;
  }

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
  std::map<api::v1::Side, absl::Status> failed_sides_ ABSL_GUARDED_BY(mutex_);
};

inline api::v1::Track MakeTrack(uint32_t id, api::v1::Side side) {
  api::v1::Track track;
  track.set_track_id(id);
  track.set_side(side);
  track.set_source(api::v1::SOURCE_MICROPHONE);
  track.set_codec(api::v1::CODEC_G711_ALAW);
  track.set_sample_rate_hz(8000);
  track.set_channels(1);
  return track;
}

// A writer over real stores in a folder of its own, and what a gateway does.
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
    return log::OpenLocalLogStore(files_, &clock_,
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
    reader_ = std::make_unique<log::LogReader>(files_, root_ + "/log");
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
  std::vector<Message> Headers(log::RecordType type) const {
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
    const log::LogReader key_reader(files_, root_ + "/keys");
    std::map<uint64_t, std::unique_ptr<seal::SessionOpener>> openers;
    std::vector<media::PacketInfo> packets;
    const auto scanned = reader_->Scan(
        {},
        [&](const log::StoredRecord& record) {
          if (record.type == log::RecordType::kSessionOpened) {
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
          if (record.type != log::RecordType::kChunk) return absl::OkStatus();
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
  // Before SetUp, a test may put another one here.
  base::FileSystem* files_ = base::FileSystem::Real();
  FakeClock clock_;
  const base::Uuid archive_id_ = base::Uuid::Random();
  base::Uuid id_ = base::Uuid::Random();
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

}  // namespace diptych::ingest

#endif  // TESTS_INGEST_INGEST_FIXTURE_H_
