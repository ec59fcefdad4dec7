// Keys that were wrapped again, and an index under a new key.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStart_us = 1'790'000'000'000'000;

class KeyChangesTest : public ::testing::Test {
 protected:
  KeyChangesTest()
      : folder_(absl::StrCat(
            ::testing::TempDir(), "/key_changes_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    archive_ = std::make_unique<SyntheticArchive>(folder_);
  }

  // An index of its own, made by whoever holds these keys.
  struct Index {
    std::unique_ptr<seal::IndexKeys> keys;
    std::unique_ptr<IndexStore> store;
    std::unique_ptr<IndexBuilder> builder;
  };

  absl::StatusOr<Index> Open(const std::string& name,
                             std::vector<seal::KeyPair> recipient_keys) {
    Index index;
    index.keys = std::make_unique<seal::IndexKeys>(
        seal::IndexKeys::Derive(recipient_keys.front()));
    index.store = IndexStore::Open(absl::StrCat(folder_, "/", name),
                                   archive_->archive_id())
                      .value();
    IndexBuilder::Options options;
    options.archive_id = archive_->archive_id();
    options.store = index.store.get();
    options.index_keys = index.keys.get();
    options.log = &archive_->log();
    options.key_store = &archive_->key_store();
    options.recipient_keys = std::move(recipient_keys);
    auto builder = IndexBuilder::Create(std::move(options));
    if (!builder.ok()) return builder.status();
    index.builder = *std::move(builder);
    return index;
  }

  void CatchUp(Index* index, size_t batch_records = 1000) {
    LogPump pump(&archive_->log(), index->builder.get(), batch_records);
    const auto end = pump.PumpUntil(archive_->durable_end(), [](log::Position) {
      return absl::OkStatus();
    });
    ASSERT_TRUE(end.ok()) << end.status();
  }

  static stored::v1::SessionRow Row(const Index& index, const base::Uuid& id) {
    const IndexView view(index.store.get(), index.keys.get());
    return view.Session(id).value().value();
  }

  base::Uuid Session(const std::string& clerk) {
    const base::Uuid id = archive_->Open(kStart_us);
    archive_->Tag(id, "clerk", {clerk}, 0);
    archive_->Segment(id, 0, 10 * kSecond_us);
    return id;
  }

  static std::vector<seal::KeyPair> Only(const seal::KeyPair& key) {
    std::vector<seal::KeyPair> keys;
    keys.push_back(key.Clone());
    return keys;
  }

  const std::string folder_;
  std::unique_ptr<SyntheticArchive> archive_;
  const seal::KeyPair fresh_ = seal::KeyPair::Generate("index");
};

TEST_F(KeyChangesTest, TheIndexFollowsWhereKeysLie) {
  for (const size_t batch : {1, 3, 1000}) {
    SCOPED_TRACE(batch);
    archive_.reset();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    archive_ = std::make_unique<SyntheticArchive>(folder_);
    const base::Uuid closed = Session("C1");
    archive_->Close(closed);
    const base::Uuid open = Session("C2");
    // Who has both keys reads on.
    std::vector<seal::KeyPair> keys = archive_->RecipientKeys();
    keys.push_back(fresh_.Clone());
    auto index = Open("index", std::move(keys)).value();
    if (batch == 1) CatchUp(&index);
    archive_->RotateIndexKey(fresh_);
    archive_->Resume(open);
    archive_->Tag(open, "rating", {"5"}, 1);
    CatchUp(&index, batch);
    EXPECT_EQ(index.builder->state().unopened_records(), 0u);
    for (const base::Uuid& id : {closed, open}) {
      const auto row = Row(index, id);
      for (const auto& epoch : row.epochs()) {
        const auto record = archive_->key_store().Read(epoch.key_position());
        ASSERT_TRUE(record.ok());
        stored::v1::KeyWraps wraps;
        ASSERT_TRUE(wraps.ParseFromString(record->body));
        EXPECT_EQ(wraps.session_id(), id.bytes());
        EXPECT_EQ(wraps.epoch(), epoch.epoch());
        bool to_fresh = false;
        for (const auto& wrap : wraps.wraps()) {
          to_fresh = to_fresh || wrap.recipient_id() ==
                                     seal::RecipientId(fresh_.public_key);
        }
        EXPECT_TRUE(to_fresh) << "epoch " << epoch.epoch();
      }
    }
    EXPECT_EQ(Row(index, open).epochs_size(), 2);
  }
}

// The log is read in order, and the first records are sealed under root keys
// that only later records of the log say where to find.
TEST_F(KeyChangesTest, TheNewKeyAloneMakesTheWholeIndex) {
  const base::Uuid before = Session("C1");
  archive_->Close(before);
  archive_->RotateIndexKey(fresh_);
  const base::Uuid after = Session("C2");
  auto index = Open("index", Only(fresh_)).value();
  CatchUp(&index);
  EXPECT_EQ(index.builder->state().unopened_records(), 0u);
  EXPECT_EQ(Row(index, before).tag_notes(0).values(0), "C1");
  EXPECT_EQ(Row(index, after).tag_notes(0).values(0), "C2");
}

TEST_F(KeyChangesTest, WhoHasNeitherKeyOpensNothing) {
  Session("C1");
  archive_->RotateIndexKey(fresh_);
  const base::Uuid after = Session("C2");
  auto stranger =
      Open("stranger", Only(seal::KeyPair::Generate("index"))).value();
  CatchUp(&stranger);
  EXPECT_EQ(stranger.builder->state().unopened_records(), 2u);
  auto old = Open("old", archive_->RecipientKeys()).value();
  CatchUp(&old);
  // What was before the rotation is wrapped to it still, in its first record.
  EXPECT_EQ(old.builder->state().unopened_records(), 1u);
  EXPECT_EQ(Row(old, after).tag_notes_size(), 0);
}

TEST_F(KeyChangesTest, AnIndexOfAnotherKeyIsRefused) {
  Session("C1");
  {
    auto index = Open("index", archive_->RecipientKeys()).value();
    CatchUp(&index);
  }
  archive_->RotateIndexKey(fresh_);
  const absl::Status refused = Open("index", Only(fresh_)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              ::testing::HasSubstr("another index key"));
  EXPECT_THAT(std::string(refused.message()),
              ::testing::HasSubstr("index rebuild"));
  // And by its own key it is as it was.
  EXPECT_TRUE(Open("index", archive_->RecipientKeys()).ok());
}

}  // namespace
}  // namespace diptych::indexer
