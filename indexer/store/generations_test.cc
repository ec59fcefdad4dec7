#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "indexer/store/index_options.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

class GenerationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(
        ::testing::TempDir(), "/generations_",
        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }

  std::unique_ptr<IndexDatabase> Open() {
    return IndexStore::Open(folder_, archive_).value();
  }
  absl::Status OpenError() {
    return IndexStore::Open(folder_, archive_).status();
  }

  static void Put(IndexStore* store, const std::string& value) {
    IndexBatch batch;
    batch.Put(Family::kRuns, "k", value);
    batch.Put(Family::kMeta, "state", value);
    ASSERT_TRUE(store->Write(batch).ok());
  }
  static std::string Value(const IndexSnapshot& snapshot) {
    return snapshot.Get(Family::kRuns, "k").value().value_or("");
  }
  static std::string Value(const IndexStore& store) {
    return Value(*store.NewSnapshot());
  }

  // With one key in it.
  std::string SortedFile(const std::string& key, const std::string& value,
                         Family family = Family::kRuns) {
    const std::string path =
        absl::StrCat(folder_, ".", static_cast<int>(family), key, ".sst");
    rocksdb::SstFileWriter writer(
        rocksdb::EnvOptions(),
        rocksdb::Options(IndexStoreOptions(),
                         IndexFamilyOptions(family, NewIndexCache())));
    EXPECT_TRUE(writer.Open(path).ok());
    EXPECT_TRUE(writer.Put(key, value).ok());
    EXPECT_TRUE(writer.Finish().ok());
    return path;
  }

  // Families of the store on disk.
  std::vector<std::string> Families() {
    std::vector<std::string> names;
    EXPECT_TRUE(
        rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), folder_, &names)
            .ok());
    return names;
  }

  // Files of one kind, by the end of their names or their beginning.
  std::vector<fs::path> Files(const std::string& part) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename();
      if (absl::StartsWith(name, part) || absl::EndsWith(name, part)) {
        found.push_back(entry.path());
      }
    }
    return found;
  }

  const base::Uuid archive_ = base::Uuid::Random();
  std::string folder_;
};

TEST_F(GenerationsTest, SwitchesWhileSnapshotsSeeTheOldOne) {
  {
    auto store = Open();
    Put(store.get(), "old");
    auto fresh = store->BeginGeneration().value();
    EXPECT_EQ(Value(*fresh), "");
    FamilyFiles files;
    files[static_cast<size_t>(Family::kRuns)] = {SortedFile("k", "sorted"),
                                                 SortedFile("l", "2")};
    ASSERT_TRUE(fresh->Ingest(files).ok());
    EXPECT_EQ(Value(*fresh), "sorted");
    EXPECT_EQ(Value(*store), "old");
    Put(fresh.get(), "new");
    const auto before = store->NewSnapshot();
    const auto iterator = before->NewIterator(Family::kRuns, "", "");
    ASSERT_TRUE(store->SwitchTo(std::move(fresh)).ok());
    EXPECT_EQ(Value(*before), "old");
    iterator->Seek("");
    ASSERT_TRUE(iterator->Valid());
    EXPECT_EQ(iterator->value(), "old");
    EXPECT_EQ(Value(*store), "new");
    Put(store.get(), "newer");
    EXPECT_EQ(Value(*before), "old");
  }
  auto store = Open();
  EXPECT_EQ(Value(*store), "newer");
  EXPECT_EQ(store->NewSnapshot()->Get(Family::kRuns, "l").value(), "2");
  EXPECT_EQ(Families().size(), 1 + kFamilies);
}

TEST_F(GenerationsTest, AGenerationThatIsGivenUpLeavesNothing) {
  {
    auto store = Open();
    Put(store.get(), "old");
    auto given_up = store->BeginGeneration().value();
    Put(given_up.get(), "new");
    given_up.reset();
    EXPECT_EQ(Value(*store), "old");
    EXPECT_EQ(Families().size(), 1 + kFamilies);
  }
  // As after a crash in the middle: families that nobody dropped.
  {
    auto store = Open();
    auto lost = store->BeginGeneration().value();
    Put(lost.get(), "new");
    ASSERT_TRUE(lost->Flush().ok());
    fs::copy(folder_, folder_ + ".crashed", fs::copy_options::recursive);
  }
  fs::remove_all(folder_);
  fs::rename(folder_ + ".crashed", folder_);
  EXPECT_EQ(Families().size(), 1 + 2 * kFamilies);
  auto store = Open();
  EXPECT_EQ(Value(*store), "old");
  EXPECT_EQ(Families().size(), 1 + kFamilies);
}

TEST_F(GenerationsTest, ANewerSchemaIsRefusedByNameAndAnOlderOneIsReplaced) {
  Open().reset();
  const auto set_schema = [&](uint32_t version) {
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : Families()) {
      families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    }
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* raw = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(rocksdb::DBOptions(), folder_, families,
                                  &handles, &raw)
                    .ok());
    const std::unique_ptr<rocksdb::DB> db(raw);
    std::string bytes;
    AppendBigEndian32(version, &bytes);
    EXPECT_TRUE(db->Put(rocksdb::WriteOptions(), "schema", bytes).ok());
    for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
  };
  set_schema(kSchemaVersion + 7);
  const absl::Status newer = OpenError();
  EXPECT_TRUE(absl::IsFailedPrecondition(newer));
  EXPECT_FALSE(IsNeedsRebuild(newer));
  EXPECT_TRUE(
      absl::StrContains(newer.message(), absl::StrCat(kSchemaVersion + 7)));
  std::string why;
  EXPECT_FALSE(
      OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why).ok());
  // Found damaged by that program: still not ours.
  std::ofstream(folder_ + "/DAMAGED").put('\n');
  EXPECT_FALSE(
      OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why).ok());
  EXPECT_EQ(OpenError(), newer);
  ASSERT_TRUE(
      OpenOrReplaceIndex(folder_, archive_, NewerIndex::kReplace, &why).ok());
  Open().reset();
  set_schema(kSchemaVersion - 1);
  EXPECT_TRUE(IsNeedsRebuild(OpenError()));
  EXPECT_TRUE(
      OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why).ok());
  EXPECT_TRUE(absl::StrContains(why, "older"));
  Open().reset();
}

TEST_F(GenerationsTest, AnotherArchivesIndexIsReplaced) {
  IndexStore::Open(folder_, base::Uuid::Random()).value().reset();
  EXPECT_TRUE(IsNeedsRebuild(OpenError()));
  std::string why;
  {
    auto store =
        OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why)
            .value();
    EXPECT_TRUE(absl::StrContains(why, "another archive"));
    EXPECT_EQ(Value(*store), "");
    Put(store.get(), "1");
  }
  auto store =
      OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why).value();
  EXPECT_EQ(why, "");
  EXPECT_EQ(Value(*store), "1");
}

TEST_F(GenerationsTest, DamageInAFileIsMetAndRemembered) {
  {
    auto store = Open();
    IndexBatch batch;
    for (int i = 0; i < 2000; ++i) {
      batch.Put(Family::kRuns, absl::StrCat(100'000 + i), "value");
    }
    ASSERT_TRUE(store->Write(batch).ok());
    ASSERT_TRUE(store->Flush().ok());
  }
  for (const fs::path& path : Files(".sst")) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(10);
    const int byte = file.get();
    file.seekp(10);
    file.put(static_cast<char>(byte ^ 1));
  }
  {
    // The file with the store's own rows may be the one.
    const absl::Status opened = OpenError();
    EXPECT_TRUE(opened.ok() || IsNeedsRebuild(opened)) << opened;
  }
  std::string why;
  bool met = false;
  {
    auto store =
        OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why)
            .value();
    if (why.empty()) {
      EXPECT_TRUE(absl::IsDataLoss(
          store->NewSnapshot()->Get(Family::kRuns, "100000").status()));
      met = store->damaged();
      EXPECT_TRUE(met);
    }
  }
  if (met) {
    EXPECT_TRUE(IsNeedsRebuild(OpenError()));
    ASSERT_TRUE(
        OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why).ok());
    EXPECT_TRUE(absl::StrContains(why, "damaged"));
  }
  EXPECT_EQ(Value(*Open()), "");
}

TEST_F(GenerationsTest, AFileThatIsMissingOrCutIsNoticed) {
  const std::vector<std::string> kinds = {"CURRENT", "MANIFEST", ".sst"};
  for (const bool cut : {false, true}) {
    for (const std::string& kind : kinds) {
      SCOPED_TRACE(absl::StrCat(kind, cut ? " cut" : " missing"));
      fs::remove_all(folder_);
      {
        auto store = Open();
        Put(store.get(), "1");
        ASSERT_TRUE(store->Flush().ok());
      }
      for (const fs::path& path : Files(kind)) {
        if (cut) {
          fs::resize_file(path, fs::file_size(path) / 2);
        } else {
          fs::remove(path);
        }
      }
      const absl::Status status = OpenError();
      if (status.ok()) {
        // Back to an earlier moment, rows and position alike.
        auto store = Open();
        EXPECT_EQ(Value(*store), store->NewSnapshot()
                                     ->Get(Family::kMeta, "state")
                                     .value()
                                     .value_or(""));
      } else {
        EXPECT_TRUE(IsNeedsRebuild(status)) << status;
      }
    }
  }
}

TEST_F(GenerationsTest, ReplacingLeavesWhatIsNotTheStores) {
  Open().reset();
  std::ofstream(folder_ + "/DAMAGED").put('\n');
  std::ofstream(folder_ + "/letter.log").put('\n');
  fs::create_directory(folder_ + "/volumes");
  std::ofstream(folder_ + "/volumes/000001.log").put('\n');
  std::string why;
  ASSERT_TRUE(
      OpenOrReplaceIndex(folder_, archive_, NewerIndex::kRefuse, &why).ok());
  EXPECT_NE(why, "");
  EXPECT_TRUE(fs::exists(folder_ + "/letter.log"));
  EXPECT_TRUE(fs::exists(folder_ + "/volumes/000001.log"));
  EXPECT_FALSE(fs::exists(folder_ + "/DAMAGED"));
}

// The path is in RocksDB's words too.
TEST_F(GenerationsTest, AFolderWithLockInItsNameIsNotInUse) {
  folder_ = absl::StrCat(::testing::TempDir(), "/lock_of_blocks");
  fs::remove_all(folder_);
  Open().reset();
  for (const fs::path& path : Files("MANIFEST")) fs::remove(path);
  EXPECT_TRUE(IsNeedsRebuild(OpenError()));
}

// RocksDB takes the end of a manifest that was cut for its end.
TEST_F(GenerationsTest, AManifestCutAfterASwitchIsNoticed) {
  const std::string crashed = folder_ + ".crashed";
  fs::remove_all(crashed);
  stored::v1::IndexState state;
  state.set_sessions(1);
  {
    auto store = Open();
    auto fresh = store->BeginGeneration().value();
    FamilyFiles files;
    for (const Family family :
         {Family::kIds, Family::kSessions, Family::kPostings, Family::kRuns}) {
      files[static_cast<size_t>(family)] = {SortedFile("k", "row", family)};
    }
    ASSERT_TRUE(fresh->Ingest(files).ok());
    IndexBatch batch;
    batch.Put(Family::kMeta, "state", state.SerializeAsString());
    ASSERT_TRUE(fresh->Write(batch).ok());
    ASSERT_TRUE(store->SwitchTo(std::move(fresh)).ok());
    fs::copy(folder_, crashed, fs::copy_options::recursive);
  }
  std::string name;
  for (const fs::path& path : Files("MANIFEST")) name = path.filename();
  const uintmax_t whole = fs::file_size(absl::StrCat(crashed, "/", name));
  int refused = 0;
  for (uintmax_t size = whole;; size -= 97) {
    SCOPED_TRACE(size);
    fs::remove_all(folder_);
    fs::copy(crashed, folder_, fs::copy_options::recursive);
    fs::resize_file(absl::StrCat(folder_, "/", name), size);
    auto store = IndexStore::Open(folder_, archive_);
    if (!store.ok()) {
      EXPECT_TRUE(IsNeedsRebuild(store.status())) << store.status();
      EXPECT_LT(size, whole);
      ++refused;
    } else {
      // All of the new one, or nothing of it.
      const auto snapshot = (*store)->NewSnapshot();
      const bool counts =
          snapshot->Get(Family::kMeta, "state").value().has_value();
      EXPECT_EQ(Value(*snapshot), counts ? "row" : "");
    }
    if (size < 97) break;
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace diptych::indexer
