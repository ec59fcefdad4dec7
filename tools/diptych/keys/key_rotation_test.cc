#include "tools/diptych/keys/key_rotation.h"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_positions.h"
#include "archiver/seal/rewrap.h"
#include "archiver/seal/session_opener.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/keys/key_changes.h"

namespace diptych::keys {
namespace {

namespace fs = std::filesystem;
using stored::v1::KEY_CLASS_MEDIA;
using stored::v1::KEY_CLASS_METADATA;
using testing::HasSubstr;

constexpr char kName[] = "audit";

// A session's epoch, and something that was sealed under it.
struct Epoch {
  base::Uuid session;
  uint64_t epoch = 0;
  std::string sealed;
};

class KeyRotationTest : public testing::Test {
 protected:
  KeyRotationTest()
      : folder_(
            absl::StrCat(testing::TempDir(), "/key_rotation_test.", getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(Data());
    fs::create_directories(Keys());
    stored::v1::ArchiveConfig config;
    config.set_archive_id(std::string(archive_.bytes()));
    config.set_suite(1);
    for (const auto& [name, classes] :
         std::map<std::string, std::vector<stored::v1::KeyClass>>{
             {"audit", {KEY_CLASS_MEDIA, KEY_CLASS_METADATA}},
             {"escrow", {KEY_CLASS_MEDIA}},
             {"index", {KEY_CLASS_METADATA}}}) {
      const seal::KeyPair key = seal::KeyPair::Generate(name);
      EXPECT_TRUE(seal::WriteKeyFile(Keys(), key, std::nullopt).ok());
      auto* recipient = config.add_recipients();
      recipient->set_name(name);
      recipient->set_public_key(key.public_key);
      for (const auto key_class : classes) recipient->add_classes(key_class);
    }
    EXPECT_TRUE(seal::WriteArchiveConfig(Data(), config).ok());
  }
  ~KeyRotationTest() override { fs::remove_all(folder_); }

  std::string Data() const { return folder_ + "/data"; }
  std::string Keys() const { return folder_ + "/keys"; }
  stored::v1::ArchiveConfig Config() const {
    return *seal::ReadArchiveConfig(Data());
  }

  std::unique_ptr<log::LogStore> OpenStore(const std::string& folder,
                                           const std::string& store) {
    log::RecoveryReport report;
    auto opened =
        log::OpenLocalLogStore(base::FileSystem::Real(), base::Clock::Real(),
                               {.directory = absl::StrCat(Data(), "/", folder),
                                .lost_and_found = Data() + "/lost+found",
                                .archive_id = archive_,
                                .store = store,
                                .volume_max_bytes = limits::kVolumeMax_bytes},
                               &report);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }

  // Opens sessions as a daemon does that is started now.
  void OpenSessions(int count) {
    const auto log = OpenStore("volumes", "log");
    const auto key_store = OpenStore("keystore", "keys");
    for (int i = 0; i < count; ++i) {
      Epoch epoch = {.session = base::Uuid::Random(),
                     .epoch = static_cast<uint64_t>(100 + i)};
      auto sealer =
          seal::SessionSealer::Create(Config(), epoch.session, epoch.epoch, 0);
      ASSERT_TRUE(sealer.ok()) << sealer.status();
      epoch.sealed = sealer->Seal(KEY_CLASS_MEDIA, log::RecordType::kChunk, "h",
                                  epoch.session.ToString());
      const auto positions = key_store->Append(
          std::vector<log::Record>{{log::RecordType::kKeyWraps, "",
                                    sealer->wraps().SerializeAsString()}});
      ASSERT_TRUE(positions.ok());
      stored::v1::SessionOpened opened;
      opened.set_session_id(std::string(epoch.session.bytes()));
      opened.set_epoch(epoch.epoch);
      opened.set_key_position(positions->back());
      ASSERT_TRUE(log->Append(std::vector<log::Record>{
                                  {log::RecordType::kSessionOpened,
                                   opened.SerializeAsString(), ""}})
                      .ok());
      epochs_.push_back(std::move(epoch));
    }
  }

  // Fails at the step with this number, as a kill before it would; no number:
  // goes through.
  absl::StatusOr<RotationResult> Rotate(std::optional<size_t> break_at = {},
                                        const std::string& name = kName) {
    const auto changes = KeyChanges::Open(Data());
    if (!changes.ok()) return changes.status();
    RotationOptions options;
    options.keys_dir = Keys();
    options.name = name;
    size_t step = 0;
    options.before_step = [&](absl::string_view what) {
      steps_.insert(std::string(what));
      return step++ == break_at ? absl::AbortedError(what) : absl::OkStatus();
    };
    return RotateKey(options, changes->get());
  }

  std::vector<seal::KeyPair> KeysOf(const std::string& name,
                                    bool with_others) const {
    std::vector<seal::KeyPair> keys;
    keys.push_back(*seal::ReadKeyFile(Keys(), name, std::nullopt));
    std::vector<absl::Status> left_out;
    auto others =
        *seal::ReadOtherKeyFiles(Keys(), name, std::nullopt, &left_out);
    EXPECT_TRUE(left_out.empty());
    if (with_others) {
      for (auto& key : others) keys.push_back(std::move(key));
    }
    return keys;
  }

  // How many epochs these keys open, with the wraps that the log names now.
  size_t CountReadable(const std::vector<seal::KeyPair>& keys) const {
    const log::LogReader log(base::FileSystem::Real(), Data() + "/volumes");
    const log::LogReader key_store(base::FileSystem::Real(),
                                   Data() + "/keystore");
    const auto positions =
        seal::KeyPositions::Scan(log, seal::KeyPositions::Which::kAll);
    size_t readable = 0;
    for (const Epoch& epoch : epochs_) {
      const auto position = positions->Find(epoch.session, epoch.epoch);
      if (!position.has_value()) continue;
      const auto record = key_store.Read(*position);
      stored::v1::KeyWraps wraps;
      if (!record.ok() || !wraps.ParseFromString(record->body)) continue;
      const auto opener = seal::SessionOpener::Create(archive_, wraps, keys);
      if (!opener.ok()) continue;
      const auto plain = (*opener)->Open(
          KEY_CLASS_MEDIA, log::RecordType::kChunk, 0, "h", epoch.sealed);
      if (plain.ok() && *plain == epoch.session.ToString()) ++readable;
    }
    return readable;
  }

  std::vector<stored::v1::KeysChanged> ToldChanges() const {
    std::vector<stored::v1::KeysChanged> told;
    const log::LogReader log(base::FileSystem::Real(), Data() + "/volumes");
    EXPECT_TRUE(log.Scan(
                       {},
                       [&](const log::StoredRecord& record) {
                         if (record.type == log::RecordType::kKeysChanged) {
                           EXPECT_TRUE(told.emplace_back().ParseFromString(
                               record.header));
                         }
                         return absl::OkStatus();
                       },
                       [](const log::Damage&) {
                         ADD_FAILURE() << "damage";
                         return absl::OkStatus();
                       })
                    .ok());
    return told;
  }

  void ExpectRotated(const seal::KeyPair& old_key) {
    EXPECT_EQ(CountReadable(KeysOf(kName, /*with_others=*/false)),
              epochs_.size());
    std::vector<seal::KeyPair> old;
    old.push_back(old_key.Clone());
    EXPECT_EQ(CountReadable(old), 0u);
    // The others read on.
    EXPECT_EQ(CountReadable(KeysOf("escrow", false)), epochs_.size());
    size_t active = 0;
    const stored::v1::ArchiveConfig config = Config();
    for (const auto& recipient : config.recipients()) {
      if (recipient.name() != kName) continue;
      EXPECT_EQ(recipient.classes_size(), 2);
      if (recipient.retired()) {
        EXPECT_EQ(recipient.public_key(), old_key.public_key);
        continue;
      }
      ++active;
      EXPECT_EQ(recipient.public_key(), KeysOf(kName, false)[0].public_key);
    }
    EXPECT_EQ(active, 1u);
    const auto kept = seal::ReadKeyFileAt(
        seal::OtherKeyPath(Keys(), kName, old_key.public_key), kName,
        std::nullopt);
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_EQ(kept->private_key.bytes(), old_key.private_key.bytes());
    // Two keys of that name and no more.
    EXPECT_EQ(KeysOf(kName, true).size(), 2u);
  }

  const std::string folder_;
  const base::Uuid archive_ = base::Uuid::Random();
  std::vector<Epoch> epochs_;
  std::set<std::string> steps_;
};

TEST_F(KeyRotationTest, WrapsAllSessionsToTheNewKey) {
  OpenSessions(5);
  const seal::KeyPair old_key = KeysOf(kName, false)[0].Clone();
  const auto result = Rotate();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rewrapped_epochs, 5u);
  EXPECT_FALSE(result->went_on);
  EXPECT_EQ(result->old_recipient_id, seal::RecipientId(old_key.public_key));
  ExpectRotated(old_key);

  // The log tells of the new key before and of the old one after the wraps.
  const auto told = ToldChanges();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[0].recipients(0).recipient_id(), result->new_recipient_id);
  EXPECT_FALSE(told[0].recipients(0).retired());
  EXPECT_EQ(told[1].rewraps_size(), 5);
  EXPECT_EQ(told[2].recipients(0).recipient_id(), result->old_recipient_id);
  EXPECT_TRUE(told[2].recipients(0).retired());
  const log::LogReader key_store(base::FileSystem::Real(),
                                 Data() + "/keystore");
  for (const auto& rewrap : told[1].rewraps()) {
    const auto record = key_store.Read(rewrap.key_position());
    ASSERT_TRUE(record.ok());
    EXPECT_EQ(
        rewrap.key_wraps_digest(),
        evidence::RecordDigest(record->type, record->header, record->body));
  }

  // New sessions are wrapped to the new key; and it can be rotated again.
  OpenSessions(2);
  EXPECT_EQ(CountReadable(KeysOf(kName, false)), 7u);
  const auto again = Rotate();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->rewrapped_epochs, 7u);
  EXPECT_EQ(CountReadable(KeysOf(kName, false)), 7u);
  EXPECT_EQ(KeysOf(kName, true).size(), 3u);
}

// Broken off before each step, with new sessions in between, and again before
// each step of what is left: nothing is ever unreadable, and the end is
// reached.
TEST_F(KeyRotationTest, GoesOnWhereverItWasBrokenOff) {
  for (size_t first = 0;; ++first) {
    SCOPED_TRACE(absl::StrCat("first break before step ", first));
    OpenSessions(2);
    const seal::KeyPair old_key = KeysOf(kName, false)[0].Clone();
    const auto broken = Rotate(first);
    if (broken.ok()) break;
    ASSERT_EQ(broken.status().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(CountReadable(KeysOf(kName, true)), epochs_.size());
    // The daemon may run in between.
    OpenSessions(1);
    EXPECT_EQ(CountReadable(KeysOf(kName, true)), epochs_.size());
    EXPECT_EQ(CountReadable(KeysOf("escrow", false)), epochs_.size());
    for (size_t second = 0;; ++second) {
      const auto result = Rotate(second);
      EXPECT_EQ(CountReadable(KeysOf(kName, true)), epochs_.size());
      if (result.ok()) {
        EXPECT_EQ(result->old_recipient_id,
                  seal::RecipientId(old_key.public_key));
        EXPECT_EQ(result->damaged_epochs, 0u);
        break;
      }
      ASSERT_EQ(result.status().code(), absl::StatusCode::kAborted);
      ASSERT_LT(second, 20u);
    }
    EXPECT_EQ(CountReadable(KeysOf(kName, false)), epochs_.size());
    std::vector<seal::KeyPair> old;
    old.push_back(old_key.Clone());
    EXPECT_EQ(CountReadable(old), 0u);
    ASSERT_LT(first, 20u);
  }
  EXPECT_THAT(steps_,
              testing::ElementsAre("add recipient", "keep old key", "new key",
                                   "retire", "rewraps", "swap", "tell new",
                                   "tell retired", "wraps"));
}

TEST_F(KeyRotationTest, ManySessionsGoInBatches) {
  OpenSessions(static_cast<int>(limits::kRewrapsPerRecord) + 7);
  const seal::KeyPair old_key = KeysOf(kName, false)[0].Clone();
  // Broken off behind the first batch.
  ASSERT_FALSE(Rotate(5).ok());
  const auto result = Rotate();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->went_on);
  EXPECT_EQ(result->rewrapped_epochs, 7u);
  EXPECT_EQ(result->other_epochs, limits::kRewrapsPerRecord);
  ExpectRotated(old_key);
}

TEST_F(KeyRotationTest, AKeyOfOneClassLeavesTheOtherAsItIs) {
  OpenSessions(3);
  ASSERT_TRUE(Rotate({}, "escrow").ok());
  EXPECT_EQ(CountReadable(KeysOf("escrow", false)), 3u);
  EXPECT_EQ(CountReadable(KeysOf("audit", false)), 3u);
  ASSERT_TRUE(Rotate({}, "index").ok());
  EXPECT_EQ(CountReadable(KeysOf("escrow", false)), 3u);
  EXPECT_EQ(CountReadable(KeysOf("audit", false)), 3u);
}

TEST_F(KeyRotationTest, SaysWhatItLacks) {
  OpenSessions(1);
  EXPECT_EQ(Rotate({}, "nobody").status().code(), absl::StatusCode::kNotFound);
  // Somebody works on the archive.
  {
    const auto lock = base::FileLock::Acquire(Data() + "/lock");
    ASSERT_TRUE(lock.ok());
    const absl::Status busy = Rotate().status();
    EXPECT_EQ(busy.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(busy.message()), HasSubstr("stop its daemon"));
  }
  // Another archive's key.
  fs::rename(Keys() + "/audit.key", folder_ + "/audit.key");
  EXPECT_EQ(Rotate().status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(
      seal::WriteKeyFile(Keys(), seal::KeyPair::Generate("audit"), std::nullopt)
          .ok());
  const absl::Status other = Rotate().status();
  EXPECT_EQ(other.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(other.message()), HasSubstr("audit.key"));
  EXPECT_TRUE(ToldChanges().empty());
}

TEST_F(KeyRotationTest, PassesOverDamageAndCountsIt) {
  OpenSessions(4);
  // The first epoch's wraps, somewhere in the body.
  const log::LogReader key_store(base::FileSystem::Real(),
                                 Data() + "/keystore");
  const auto volumes = key_store.ListVolumes();
  ASSERT_TRUE(volumes.ok());
  const std::string path = volumes->front().path;
  {
    const auto text = base::ReadWholeFile(path, 1 << 20);
    std::string bytes = *text;
    const size_t at = bytes.find(std::string(epochs_[0].session.bytes()));
    ASSERT_NE(at, std::string::npos);
    bytes[at + 60] ^= 1;
    fs::remove(path);
    ASSERT_TRUE(base::FileSystem::Real()->WriteFile(path, bytes).ok());
  }
  const auto result = Rotate();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->damaged_epochs, 1u);
  EXPECT_EQ(result->rewrapped_epochs, 3u);
}

TEST_F(KeyRotationTest, EncryptedKeysStayEncrypted) {
  OpenSessions(1);
  const seal::KeyPair old_key = KeysOf(kName, false)[0].Clone();
  fs::remove(Keys() + "/audit.key");
  ASSERT_TRUE(seal::WriteKeyFile(Keys(), old_key, "open sesame").ok());
  const auto changes = KeyChanges::Open(Data());
  ASSERT_TRUE(changes.ok());
  RotationOptions options;
  options.keys_dir = Keys();
  options.name = kName;
  EXPECT_EQ(RotateKey(options, changes->get()).status().code(),
            absl::StatusCode::kFailedPrecondition);
  options.passphrase = "open sesam";
  EXPECT_EQ(RotateKey(options, changes->get()).status().code(),
            absl::StatusCode::kPermissionDenied);
  options.passphrase = "open sesame";
  ASSERT_TRUE(RotateKey(options, changes->get()).ok());
  EXPECT_FALSE(seal::ReadKeyFile(Keys(), kName, std::nullopt).ok());
  const auto fresh = seal::ReadKeyFile(Keys(), kName, "open sesame");
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  EXPECT_NE(fresh->public_key, old_key.public_key);
  std::vector<absl::Status> left_out;
  EXPECT_EQ(
      seal::ReadOtherKeyFiles(Keys(), kName, "open sesame", &left_out)->size(),
      1u);
}

}  // namespace
}  // namespace diptych::keys
