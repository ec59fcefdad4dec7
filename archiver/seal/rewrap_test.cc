#include "archiver/seal/rewrap.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/session_opener.h"
#include "archiver/seal/session_sealer.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

using stored::v1::KEY_CLASS_MEDIA;
using stored::v1::KEY_CLASS_METADATA;

class RewrapTest : public testing::Test {
 protected:
  RewrapTest() {
    config_.set_archive_id(std::string(archive_.bytes()));
    config_.set_suite(1);
    Add(index_, {KEY_CLASS_METADATA});
    Add(audit_, {KEY_CLASS_MEDIA, KEY_CLASS_METADATA});
    Add(escrow_, {KEY_CLASS_MEDIA});
    auto sealer = SessionSealer::Create(config_, session_, 7, 0);
    wraps_ = sealer->wraps();
    media_ = sealer->Seal(KEY_CLASS_MEDIA, log::RecordType::kChunk, "h", "m");
    notes_ =
        sealer->Seal(KEY_CLASS_METADATA, log::RecordType::kNotes, "h", "n");
  }

  stored::v1::Recipient* Add(const KeyPair& key,
                             const std::vector<stored::v1::KeyClass>& classes) {
    stored::v1::Recipient* recipient = config_.add_recipients();
    recipient->set_name(key.name);
    recipient->set_public_key(key.public_key);
    for (const auto key_class : classes) recipient->add_classes(key_class);
    return recipient;
  }

  absl::StatusOr<std::string> Open(const stored::v1::KeyWraps& wraps,
                                   const KeyPair& key,
                                   stored::v1::KeyClass key_class) {
    std::vector<KeyPair> keys;
    keys.push_back(key.Clone());
    auto opener = SessionOpener::Create(archive_, wraps, keys);
    if (!opener.ok()) return opener.status();
    return key_class == KEY_CLASS_MEDIA
               ? (*opener)->Open(key_class, log::RecordType::kChunk, 0, "h",
                                 media_)
               : (*opener)->Open(key_class, log::RecordType::kNotes, 0, "h",
                                 notes_);
  }

  const base::Uuid archive_ = base::Uuid::Random();
  const base::Uuid session_ = base::Uuid::Random();
  const KeyPair index_ = KeyPair::Generate("index");
  const KeyPair audit_ = KeyPair::Generate("audit");
  const KeyPair escrow_ = KeyPair::Generate("escrow");
  const KeyPair fresh_ = KeyPair::Generate("audit");
  stored::v1::ArchiveConfig config_;
  stored::v1::KeyWraps wraps_;
  std::string media_;
  std::string notes_;
};

TEST_F(RewrapTest, TheNewKeyOpensWhatTheOldOneOpened) {
  config_.mutable_recipients(1)->set_retired(true);
  Add(fresh_, {KEY_CLASS_MEDIA, KEY_CLASS_METADATA});
  const auto made = Rewrap(config_, wraps_, audit_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(*Open(*made, fresh_, KEY_CLASS_MEDIA), "m");
  EXPECT_EQ(*Open(*made, fresh_, KEY_CLASS_METADATA), "n");
  EXPECT_EQ(*Open(*made, escrow_, KEY_CLASS_MEDIA), "m");
  EXPECT_EQ(*Open(*made, index_, KEY_CLASS_METADATA), "n");
  EXPECT_EQ(Open(*made, audit_, KEY_CLASS_MEDIA).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(IsWrappedTo(*made, audit_.public_key));
  EXPECT_TRUE(IsWrappedTo(*made, fresh_.public_key));
  EXPECT_EQ(made->session_id(), wraps_.session_id());
  EXPECT_EQ(made->epoch(), 7u);
}

TEST_F(RewrapTest, ClassesThatTheOldKeyDoesNotOpenStayAsTheyAre) {
  config_.mutable_recipients(2)->set_retired(true);
  const KeyPair fresh = KeyPair::Generate("escrow");
  Add(fresh, {KEY_CLASS_MEDIA});
  const auto made = Rewrap(config_, wraps_, escrow_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(*Open(*made, fresh, KEY_CLASS_MEDIA), "m");
  EXPECT_EQ(*Open(*made, audit_, KEY_CLASS_METADATA), "n");
  EXPECT_EQ(*Open(*made, index_, KEY_CLASS_METADATA), "n");
  EXPECT_FALSE(Open(*made, escrow_, KEY_CLASS_MEDIA).ok());
}

TEST_F(RewrapTest, RefusesStrangersDamageAndOtherPlaces) {
  EXPECT_EQ(Rewrap(config_, wraps_, fresh_).status().code(),
            absl::StatusCode::kPermissionDenied);
  stored::v1::KeyWraps moved = wraps_;
  moved.set_epoch(8);
  EXPECT_EQ(Rewrap(config_, moved, audit_).status().code(),
            absl::StatusCode::kDataLoss);
  moved = wraps_;
  moved.set_session_id(std::string(base::Uuid::Random().bytes()));
  EXPECT_EQ(Rewrap(config_, moved, audit_).status().code(),
            absl::StatusCode::kDataLoss);
  stored::v1::KeyWraps damaged = wraps_;
  for (auto& wrap : *damaged.mutable_wraps()) {
    (*wrap.mutable_sealed())[40] ^= 1;
  }
  EXPECT_EQ(Rewrap(config_, damaged, audit_).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(RewrapTest, LeavesNoClassWithoutARecipient) {
  for (auto& recipient : *config_.mutable_recipients()) {
    recipient.set_retired(true);
  }
  EXPECT_EQ(Rewrap(config_, wraps_, audit_).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(SessionSealer::Create(config_, session_, 8, 0).ok());
}

TEST_F(RewrapTest, NothingIsWrappedToRetiredRecipients) {
  config_.mutable_recipients(1)->set_retired(true);
  Add(fresh_, {KEY_CLASS_MEDIA, KEY_CLASS_METADATA});
  const auto sealer = SessionSealer::Create(config_, session_, 8, 0);
  ASSERT_TRUE(sealer.ok());
  EXPECT_FALSE(IsWrappedTo(sealer->wraps(), audit_.public_key));
  EXPECT_TRUE(IsWrappedTo(sealer->wraps(), fresh_.public_key));
}

// What is wrapped is made by hand; it is the message that the format names.
TEST_F(RewrapTest, AWrapHoldsASerializedWrappedKey) {
  for (const uint64_t epoch : {uint64_t{0}, uint64_t{7}, uint64_t{1} << 50}) {
    for (const std::string& session :
         {std::string(), std::string(session_.bytes())}) {
      const SecretKey key = SecretKey::Random();
      const WrapContext context = {.archive_id = config_.archive_id(),
                                   .session_id = session,
                                   .key_class = KEY_CLASS_MEDIA,
                                   .epoch = epoch};
      const auto wraps = WrapKey(config_, context, key);
      ASSERT_TRUE(wraps.ok());
      stored::v1::WrappedKey message;
      message.set_archive_id(config_.archive_id());
      message.set_session_id(session);
      message.set_key_class(KEY_CLASS_MEDIA);
      message.set_epoch(epoch);
      message.set_root_key(std::string(key.bytes()));
      const std::string& sealed = wraps->front().sealed();
      std::string plain(sealed.size() - crypto_box_SEALBYTES, '\0');
      ASSERT_EQ(
          crypto_box_seal_open(
              reinterpret_cast<unsigned char*>(plain.data()),
              reinterpret_cast<const unsigned char*>(sealed.data()),
              sealed.size(),
              reinterpret_cast<const unsigned char*>(audit_.public_key.data()),
              audit_.private_key.data()),
          0);
      EXPECT_EQ(plain, message.SerializeAsString());
      EXPECT_EQ(UnwrapKey(wraps->front(), context, audit_)->bytes(),
                key.bytes());
    }
  }
}

}  // namespace
}  // namespace diptych::seal
