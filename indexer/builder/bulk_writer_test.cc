#include "indexer/builder/bulk_writer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/store/batch_sink.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using Rows = std::vector<std::pair<std::string, std::string>>;

absl::Status Ignore(uint64_t /*done*/, uint64_t /*total*/) {
  return absl::OkStatus();
}

Rows AllRows(const IndexStore& store, Family family) {
  Rows rows;
  const auto snapshot = store.NewSnapshot();
  const auto iterator = snapshot->NewIterator(family, "", "");
  for (iterator->Seek(""); iterator->Valid(); iterator->Next()) {
    rows.emplace_back(iterator->key(), iterator->value());
  }
  EXPECT_TRUE(iterator->status().ok());
  return rows;
}

class BulkWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(
        ::testing::TempDir(), "/bulk_",
        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    store_ = IndexStore::Open(folder_ + "/index", base::Uuid::Random()).value();
    generation_ = store_->BeginGeneration().value();
  }

  std::string Path(const std::string& name) { return folder_ + "/" + name; }

  std::string folder_;
  std::unique_ptr<IndexDatabase> store_;
  std::unique_ptr<IndexGeneration> generation_;
};

// Writes the same to any sink; only sessions of this part.
void WriteSome(uint32_t part, uint32_t parts, RowSink* sink) {
  const PostingList broad = {std::string(16, 'b'), kBroadBucketBits};
  const PostingList rare = {std::string(16, 'r'), kRareBucketBits};
  for (uint32_t i = 0; i < 3000; ++i) {
    if (i % parts != part) continue;
    const SessionNumber session(1'700'000'000 + i * 997,
                                static_cast<uint16_t>(i % 3));
    sink->Put(Family::kSessions, SessionKey(session), absl::StrCat("row", i));
    sink->Put(Family::kSessions, SessionKey(session), absl::StrCat("new", i));
    sink->SetPosting(broad, session, RunSet(0, i % 4));
    RunSet runs(0, 0);
    runs.Append(2 + i % 5, 9);
    if (i % 7 == 0) sink->SetPosting(rare, session, runs);
    std::string id(16, '\0');
    id[0] = static_cast<char>(i >> 8);
    id[1] = static_cast<char>(i);
    if (i % 100 != 0) continue;
    const base::Uuid uuid = base::Uuid::FromBytes(id).value();
    for (uint32_t chunk = 0; chunk < 150; ++chunk) {
      stored::v1::ChunkRow row;
      row.set_chunk(chunk);
      row.set_position(1000 + chunk);
      sink->AddChunk(uuid, row);
      // Comes again with its group long written.
      row.set_chunk(chunk / 2);
      row.set_position(5000 + chunk / 2);
      sink->AddChunk(uuid, row);
    }
  }
}

TEST_F(BulkWriterTest, GivesTheRowsThatABatchGives) {
  // Small, so that it spills often.
  BulkWriter a(Path("a"), 20'000);
  BulkWriter b(Path("b"), 20'000);
  WriteSome(0, 2, &a);
  WriteSome(1, 2, &b);
  ASSERT_TRUE(a.Spill().ok());
  ASSERT_TRUE(b.Spill().ok());
  FamilyRuns runs = a.runs();
  size_t most = 0;
  for (size_t i = 0; i < kFamilies; ++i) {
    runs[i].insert(runs[i].end(), b.runs()[i].begin(), b.runs()[i].end());
    most = std::max(most, runs[i].size());
  }
  EXPECT_GT(most, 3u);
  ASSERT_TRUE(IngestRuns(runs, Path("merge"), generation_.get(), Ignore).ok());

  IndexBatch batch;
  BatchSink sink(&batch);
  WriteSome(0, 1, &sink);
  sink.Finish();
  ASSERT_TRUE(store_->Write(batch).ok());
  for (const Family family :
       {Family::kSessions, Family::kPostings, Family::kChunks}) {
    const Rows expected = AllRows(*store_, family);
    EXPECT_FALSE(expected.empty());
    EXPECT_EQ(AllRows(*generation_, family), expected);
  }
}

TEST_F(BulkWriterTest, OfTooManyValuesTheFirstStay) {
  BulkWriter writer(Path("a"));
  const uint32_t count = limits::kMaxDictionaryValues + 500;
  const auto row_key = [](uint32_t value) {
    std::string key(16, 'k');
    AppendBigEndian32(value, &key);
    key.resize(32);
    return key;
  };
  for (uint32_t i = count; i-- > 0;) {
    writer.AddWord(1000 + i, 0, row_key(i), absl::StrCat("word", i));
    // Said again later.
    writer.AddWord(9000, i, row_key(i), "again");
  }
  ASSERT_TRUE(writer.Spill().ok());
  ASSERT_TRUE(
      IngestRuns(writer.runs(), Path("merge"), generation_.get(), Ignore).ok());
  const Rows words = AllRows(*generation_, Family::kDictionary);
  ASSERT_EQ(words.size(), limits::kMaxDictionaryValues + 1);
  for (uint32_t i = 0; i < words.size(); ++i) {
    EXPECT_EQ(words[i].first, row_key(i));
    EXPECT_EQ(words[i].second, absl::StrCat("word", i));
  }
}

TEST_F(BulkWriterTest, AnErrorOfProgressEndsIt) {
  BulkWriter writer(Path("a"));
  for (uint32_t i = 0; i < 100'000; ++i) {
    writer.Put(Family::kIds, absl::StrCat(i), "x");
  }
  ASSERT_TRUE(writer.Spill().ok());
  uint64_t most = 0;
  EXPECT_TRUE(absl::IsCancelled(IngestRuns(writer.runs(), Path("merge"),
                                           generation_.get(),
                                           [&](uint64_t done, uint64_t total) {
                                             EXPECT_EQ(total, 100'000u);
                                             most = done;
                                             return absl::CancelledError();
                                           })));
  EXPECT_GT(most, 0u);
  EXPECT_TRUE(AllRows(*generation_, Family::kIds).empty());
}

}  // namespace
}  // namespace diptych::indexer
