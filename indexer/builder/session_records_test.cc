// Where the index says that a session's records lie.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/store/index_store.h"
#include "indexer/store/media_index.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSecond_us = 1'000'000;
constexpr int64_t kStart_us = 1'790'000'000'000'000;

class SessionRecordsTest : public ::testing::Test {
 protected:
  SessionRecordsTest()
      : folder_(absl::StrCat(::testing::TempDir(), "/session_records")) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    archive_ = std::make_unique<SyntheticArchive>(folder_);
    store_ = IndexStore::Open(absl::StrCat(folder_, "/index"),
                              archive_->archive_id())
                 .value();
    IndexBuilder::Options options;
    options.archive_id = archive_->archive_id();
    options.store = store_.get();
    options.index_keys = &archive_->index_keys();
    options.log = &archive_->log();
    options.key_store = &archive_->key_store();
    options.recipient_keys = archive_->RecipientKeys();
    builder_ = IndexBuilder::Create(std::move(options)).value();
  }

  // Takes everything that the log has.
  void CatchUp() {
    LogPump pump(&archive_->log(), builder_.get(), 1000);
    const auto end = pump.PumpUntil(archive_->durable_end(), [](log::Position) {
      return absl::OkStatus();
    });
    ASSERT_TRUE(end.ok()) << end.status();
  }

  const std::string folder_;
  std::unique_ptr<SyntheticArchive> archive_;
  std::unique_ptr<IndexStore> store_;
  std::unique_ptr<IndexBuilder> builder_;
};

TEST_F(SessionRecordsTest, RecordsLieWhereTheManifestsThatNameThemSay) {
  using log::RecordType;
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Span(id, 0, stored::v1::SpanDescription());
  stored::v1::Note note;
  note.mutable_event()->set_type("card_read");
  archive_->Notes(id, stored::v1::SIDE_CLERK, {note});
  archive_->Segment(id, 0, 10 * kSecond_us);
  // Another session in between.
  const base::Uuid other = archive_->Open(kStart_us + 1);
  archive_->Segment(other, 0, kSecond_us);
  stored::v1::SourceDigest digest;
  digest.set_session_id(std::string(id.bytes()));
  digest.set_note(2);
  digest.mutable_statement()->set_side(stored::v1::SIDE_CLERK);
  const log::Position signed_at = archive_->Append(
      RecordType::kSourceDigest, digest.SerializeAsString(), "");
  stored::v1::Gap gap;
  gap.set_side(stored::v1::SIDE_CLERK);
  gap.set_end_us(kSecond_us);
  archive_->Chunk(id, 10 * kSecond_us, 11 * kSecond_us,
                  {stored::v1::SIDE_RESIDENT}, {gap});
  archive_->Manifest(id);
  archive_->StateChanged(id, stored::v1::StateChanged());
  CatchUp();
  auto index = NewMediaIndex(store_.get(), &archive_->index_keys());
  SessionRecords records = index->GetSessionRecords(id).value();
  EXPECT_EQ(records.indexed, archive_->durable_end());
  EXPECT_EQ(archive_->log().Read(*records.opened)->type,
            RecordType::kSessionOpened);
  EXPECT_FALSE(records.closed.has_value());
  const auto types = [](const std::vector<RecordRef>& refs) {
    std::vector<RecordType> found;
    for (const RecordRef& ref : refs) found.push_back(ref.type);
    return found;
  };
  ASSERT_EQ(records.manifests.size(), 2u);
  EXPECT_EQ(
      types(records.manifests[0].records),
      (std::vector<RecordType>{RecordType::kSessionOpened,
                               RecordType::kSpanStarted, RecordType::kNotes}));
  EXPECT_EQ(records.manifests[1].records,
            (std::vector<RecordRef>{{RecordType::kSourceDigest, signed_at}}));
  EXPECT_EQ(types(records.unnamed),
            (std::vector<RecordType>{RecordType::kStateChanged}));
  for (const ManifestRef& manifest : records.manifests) {
    EXPECT_EQ(archive_->log().Read(manifest.position)->type,
              RecordType::kSegment);
    for (const RecordRef& ref : manifest.records) {
      EXPECT_EQ(archive_->log().Read(ref.position)->type, ref.type);
    }
  }
  const SessionMedia media = index->GetSessionMedia(id).value();
  ASSERT_EQ(media.chunks.size(), 2u);
  EXPECT_FALSE(media.chunks[0].has_gaps);
  EXPECT_EQ(media.chunks[0].sides.size(), 2u);
  EXPECT_TRUE(media.chunks[1].has_gaps);
  ASSERT_EQ(media.chunks[1].sides.size(), 1u);
  EXPECT_EQ(media.chunks[1].sides[0].first, media.chunks[0].sides[0].last + 1);

  // What no manifest names, the closing does.
  archive_->Close(id);
  CatchUp();
  records = index->GetSessionRecords(id).value();
  ASSERT_TRUE(records.closed.has_value());
  EXPECT_EQ(archive_->log().Read(*records.closed)->type,
            RecordType::kSessionClosed);
  EXPECT_EQ(types(records.unnamed),
            (std::vector<RecordType>{RecordType::kStateChanged}));
  EXPECT_TRUE(absl::IsNotFound(
      index->GetSessionRecords(base::Uuid::Random()).status()));
  EXPECT_TRUE(index->GetSessionRecords(other).ok());
}

}  // namespace
}  // namespace diptych::indexer
