#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_opener.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

using log::RecordType;
using stored::v1::KEY_CLASS_MEDIA;
using stored::v1::KEY_CLASS_METADATA;

constexpr absl::StatusCode kDataLoss = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kDenied = absl::StatusCode::kPermissionDenied;

class SealTest : public testing::Test {
 protected:
  SealTest() {
    config_.set_archive_id(std::string(archive_.bytes()));
    config_.set_suite(1);
    AddRecipient(index_, {KEY_CLASS_METADATA});
    AddRecipient(audit_, {KEY_CLASS_MEDIA, KEY_CLASS_METADATA});
    AddRecipient(escrow_, {KEY_CLASS_MEDIA});
  }

  void AddRecipient(const KeyPair& key,
                    std::vector<stored::v1::KeyClass> classes) {
    stored::v1::Recipient* recipient = config_.add_recipients();
    recipient->set_name(key.name);
    recipient->set_public_key(key.public_key);
    for (const auto key_class : classes) recipient->add_classes(key_class);
  }

  std::unique_ptr<SessionOpener> Opener(const stored::v1::KeyWraps& wraps,
                                        const KeyPair& key) {
    std::vector<KeyPair> keys;
    keys.push_back(key.Clone());
    auto opener = SessionOpener::Create(archive_, wraps, keys);
    EXPECT_TRUE(opener.ok()) << opener.status();
    return *std::move(opener);
  }

  const base::Uuid archive_ = base::Uuid::Random();
  const base::Uuid session_ = base::Uuid::Random();
  const KeyPair index_ = KeyPair::Generate("index");
  const KeyPair audit_ = KeyPair::Generate("audit");
  const KeyPair escrow_ = KeyPair::Generate("escrow");
  stored::v1::ArchiveConfig config_;
};

TEST_F(SealTest, EachClassOpensForItsRecipientsOnly) {
  auto sealer = SessionSealer::Create(config_, session_, 7, 0);
  ASSERT_TRUE(sealer.ok());
  const std::string media =
      sealer->Seal(KEY_CLASS_MEDIA, RecordType::kChunk, "head", "picture");
  const std::string notes =
      sealer->Seal(KEY_CLASS_METADATA, RecordType::kNotes, "head", "tags");

  const auto audit = Opener(sealer->wraps(), audit_);
  EXPECT_EQ(audit->Open(KEY_CLASS_MEDIA, RecordType::kChunk, 0, "head", media)
                .value(),
            "picture");
  EXPECT_EQ(
      audit->Open(KEY_CLASS_METADATA, RecordType::kNotes, 0, "head", notes)
          .value(),
      "tags");
  const auto index = Opener(sealer->wraps(), index_);
  EXPECT_EQ(
      index->Open(KEY_CLASS_METADATA, RecordType::kNotes, 0, "head", notes)
          .value(),
      "tags");
  EXPECT_EQ(index->Open(KEY_CLASS_MEDIA, RecordType::kChunk, 0, "head", media)
                .status()
                .code(),
            kDenied);
  const auto escrow = Opener(sealer->wraps(), escrow_);
  EXPECT_TRUE(
      escrow->Open(KEY_CLASS_MEDIA, RecordType::kChunk, 0, "head", media).ok());
  std::vector<KeyPair> strangers;
  strangers.push_back(KeyPair::Generate("audit"));
  EXPECT_EQ(SessionOpener::Create(archive_, sealer->wraps(), strangers)
                .status()
                .code(),
            kDenied);
}

TEST_F(SealTest, AnyChangedByteIsNoticed) {
  auto sealer = SessionSealer::Create(config_, session_, 7, 0);
  const std::string body =
      sealer->Seal(KEY_CLASS_MEDIA, RecordType::kChunk, "head", "picture");
  const auto opener = Opener(sealer->wraps(), audit_);
  for (size_t i = 0; i < body.size(); ++i) {
    std::string forged = body;
    forged[i] ^= 1;
    EXPECT_EQ(
        opener->Open(KEY_CLASS_MEDIA, RecordType::kChunk, 0, "head", forged)
            .status()
            .code(),
        kDataLoss);
    EXPECT_EQ(opener
                  ->Open(KEY_CLASS_MEDIA, RecordType::kChunk, 0, "head",
                         body.substr(0, i))
                  .status()
                  .code(),
              kDataLoss);
  }
  EXPECT_EQ(opener->Open(KEY_CLASS_MEDIA, RecordType::kChunk, 0, "heae", body)
                .status()
                .code(),
            kDataLoss);
  EXPECT_EQ(
      opener
          ->Open(KEY_CLASS_MEDIA, RecordType::kAttachmentPart, 0, "head", body)
          .status()
          .code(),
      kDataLoss);
  EXPECT_EQ(opener->Open(KEY_CLASS_MEDIA, RecordType::kChunk, 1, "head", body)
                .status()
                .code(),
            kDataLoss);
}

TEST_F(SealTest, RatchetOpensEverySegmentInAnyOrderAndFromALaterStart) {
  for (const uint32_t first : {0u, 5u}) {
    auto sealer = SessionSealer::Create(config_, session_, 7, first);
    std::vector<std::string> bodies;
    for (uint32_t i = 0; i < 10; ++i) {
      EXPECT_EQ(sealer->segment(), first + i);
      bodies.push_back(sealer->Seal(KEY_CLASS_MEDIA, RecordType::kChunk, "h",
                                    std::to_string(i)));
      sealer->NextSegment();
    }
    const auto opener = Opener(sealer->wraps(), audit_);
    for (const uint32_t i : {9u, 0u, 4u, 5u, 3u}) {
      EXPECT_EQ(opener
                    ->Open(KEY_CLASS_MEDIA, RecordType::kChunk, first + i, "h",
                           bodies[i])
                    .value(),
                std::to_string(i));
    }
  }
}

TEST_F(SealTest, AWrapMovedToAnotherSessionOrEpochIsRefused) {
  auto sealer = SessionSealer::Create(config_, session_, 7, 0);
  std::vector<KeyPair> keys;
  keys.push_back(audit_.Clone());
  stored::v1::KeyWraps moved = sealer->wraps();
  moved.set_epoch(8);
  EXPECT_EQ(SessionOpener::Create(archive_, moved, keys).status().code(),
            kDataLoss);
  moved = sealer->wraps();
  moved.set_session_id(std::string(base::Uuid::Random().bytes()));
  EXPECT_EQ(SessionOpener::Create(archive_, moved, keys).status().code(),
            kDataLoss);
  EXPECT_EQ(SessionOpener::Create(base::Uuid::Random(), sealer->wraps(), keys)
                .status()
                .code(),
            kDataLoss);
}

TEST_F(SealTest, KeysAndNoncesAreFresh) {
  std::set<std::string> nonces;
  for (int i = 0; i < 100; ++i) {
    auto sealer = SessionSealer::Create(config_, session_, 7, 0);
    for (int j = 0; j < 10; ++j) {
      const std::string body =
          sealer->Seal(KEY_CLASS_MEDIA, RecordType::kChunk, "", "same");
      EXPECT_TRUE(nonces.insert(body.substr(0, 24)).second);
      EXPECT_THAT(body, testing::Not(testing::HasSubstr("same")));
    }
  }
}

TEST_F(SealTest, ASessionWithoutRecipientsIsNotSealedAtAll) {
  config_.clear_recipients();
  EXPECT_EQ(SessionSealer::Create(config_, session_, 7, 0).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(SealTest, EnvelopeOpensForItsClassInItsContext) {
  const auto envelope =
      SealEnvelope(config_, KEY_CLASS_METADATA, "access", "who and why");
  ASSERT_TRUE(envelope.ok());
  std::vector<KeyPair> index;
  index.push_back(index_.Clone());
  EXPECT_EQ(OpenEnvelope(config_, *envelope, "access", index).value(),
            "who and why");
  EXPECT_EQ(OpenEnvelope(config_, *envelope, "other", index).status().code(),
            kDataLoss);
  std::vector<KeyPair> escrow;
  escrow.push_back(escrow_.Clone());
  EXPECT_EQ(OpenEnvelope(config_, *envelope, "access", escrow).status().code(),
            kDenied);
}

TEST_F(SealTest, IndexTokensDependOnKeyValueAndSecret) {
  const IndexKeys keys = IndexKeys::Derive(index_);
  EXPECT_EQ(keys.Token("clerk", "C1"), keys.Token("clerk", "C1"));
  EXPECT_NE(keys.Token("clerk", "C1"), keys.Token("clerk", "C2"));
  EXPECT_NE(keys.Token("a", "bc"), keys.Token("ab", "c"));
  EXPECT_NE(keys.Token("clerk", "C1"),
            IndexKeys::Derive(audit_).Token("clerk", "C1"));
  EXPECT_EQ(keys.Token("clerk", "C1").size(), IndexKeys::kToken_bytes);
  const std::string row = keys.SealRow("row 1", "content");
  EXPECT_EQ(keys.OpenRow("row 1", row).value(), "content");
  EXPECT_EQ(keys.OpenRow("row 2", row).status().code(), kDataLoss);
  EXPECT_EQ(keys.OpenPageToken("row 1", row).status().code(),
            absl::StatusCode::kInvalidArgument);
}

class KeyFileTest : public SealTest {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/keys-" + session_.ToString();
    std::filesystem::create_directories(folder_);
  }
  std::string folder_;
};

TEST_F(KeyFileTest, RoundTripsPlainAndEncrypted) {
  ASSERT_TRUE(WriteKeyFile(folder_, audit_, std::nullopt).ok());
  EXPECT_EQ(ReadKeyFile(folder_, "audit", std::nullopt)->private_key.bytes(),
            audit_.private_key.bytes());
  ASSERT_TRUE(WriteKeyFile(folder_, index_, "open sesame").ok());
  EXPECT_EQ(ReadKeyFile(folder_, "index", "open sesame")->private_key.bytes(),
            index_.private_key.bytes());
  EXPECT_EQ(ReadKeyFile(folder_, "index", "open sesam").status().code(),
            kDenied);
  EXPECT_EQ(ReadKeyFile(folder_, "index", std::nullopt).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadKeyFile(folder_, "absent", std::nullopt).status().code(),
            absl::StatusCode::kNotFound);
  // Never over an existing key.
  EXPECT_FALSE(WriteKeyFile(folder_, audit_, std::nullopt).ok());
}

TEST_F(KeyFileTest, AKeyThatOthersCanReadIsRefused) {
  ASSERT_TRUE(WriteKeyFile(folder_, audit_, std::nullopt).ok());
  const std::string path = folder_ + "/audit.key";
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  EXPECT_EQ(ReadKeyFile(folder_, "audit", std::nullopt).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace diptych::seal
