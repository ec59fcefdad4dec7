#include "archiver/base/faulty_file.h"

#include <memory>
#include <set>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"

namespace diptych::base {
namespace {

using Fault = FaultyFileSystem::Fault;
using Loss = FaultyFileSystem::Loss;
using testing::ElementsAre;

class FaultyFileTest : public testing::Test {
 protected:
  std::unique_ptr<AppendFile> Open(const std::string& path) {
    auto file = files_.OpenForAppend(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  // A file with a durable name.
  std::unique_ptr<AppendFile> Named(const std::string& path) {
    auto file = Open(path);
    EXPECT_TRUE(files_.SyncDirectory("/r").ok());
    return file;
  }

  FaultyFileSystem files_{"/r"};
};

TEST_F(FaultyFileTest, OnlyWhatWasSyncedIsSureToSurvive) {
  auto file = Named("/r/a");
  ASSERT_TRUE(file->Append({"synced"}).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Append({" and not"}).ok());
  EXPECT_EQ(files_.Content("/r/a"), "synced and not");
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "synced");
  EXPECT_EQ(files_.Reboot(Loss::kNone, 1)->Content("/r/a"), "synced and not");
  std::set<std::string> tails;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string found =
        files_.Reboot(Loss::kTail, seed)->Content("/r/a").value();
    EXPECT_EQ(found, std::string("synced and not").substr(0, found.size()));
    EXPECT_GE(found.size(), 6u);
    tails.insert(found);
  }
  EXPECT_GT(tails.size(), 4u);
}

TEST_F(FaultyFileTest, SectorsTearAndLaterOnesMaySurviveEarlierOnes) {
  auto file = Named("/r/a");
  ASSERT_TRUE(file->Append({std::string(700, 'a')}).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Append({std::string(3000, 'b')}).ok());
  bool later_without_earlier = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string found =
        files_.Reboot(Loss::kSectors, seed)->Content("/r/a").value();
    ASSERT_GE(found.size(), 700u);
    EXPECT_EQ(found.substr(0, 700), std::string(700, 'a'));
    const size_t hole = found.find('\0');
    later_without_earlier =
        later_without_earlier || (hole != std::string::npos &&
                                  found.find('b', hole) != std::string::npos);
    EXPECT_EQ(files_.Reboot(Loss::kSectors, seed)->Content("/r/a"), found);
  }
  EXPECT_TRUE(later_without_earlier);
}

TEST_F(FaultyFileTest, ANameIsDurableAfterItsFolderWasSynced) {
  ASSERT_TRUE(files_.CreateDirectory("/r/d/e").ok());
  auto file = Open("/r/d/e/a");
  ASSERT_TRUE(file->Append({"x"}).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(files_.SyncDirectory("/r/d/e").ok());
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/d/e/a"), std::nullopt);
  ASSERT_TRUE(files_.SyncDirectory("/r/d").ok());
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/d/e/a"), std::nullopt);
  ASSERT_TRUE(files_.SyncDirectory("/r").ok());
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/d/e/a"), "x");
}

TEST_F(FaultyFileTest, ATruncationIsDurableAfterASyncToo) {
  ASSERT_TRUE(files_.WriteFile("/r/a", "0123456789").ok());
  files_.CutPowerAt(files_.operations() + 2);
  EXPECT_FALSE(files_.Truncate("/r/a", 3).ok());
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "0123456789");
  EXPECT_EQ(files_.Reboot(Loss::kNone, 1)->Content("/r/a"), "012");
}

TEST_F(FaultyFileTest, AfterThePowerCutNothingWorks) {
  auto file = Named("/r/a");
  files_.CutPowerAt(files_.operations() + 2);
  ASSERT_TRUE(file->Append({"one"}).ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_TRUE(files_.power_is_off());
  EXPECT_FALSE(file->Append({"two"}).ok());
  EXPECT_FALSE(files_.OpenForRead("/r/a").ok());
  EXPECT_EQ(files_.Reboot(Loss::kNone, 1)->Content("/r/a"), "one");
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "");
}

TEST_F(FaultyFileTest, ADiskThatIsFullSaysSoAndGivesBackWhatIsFreed) {
  auto file = Named("/r/a");
  files_.SetFreeBytes(10);
  EXPECT_EQ(file->Reserve(11).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(file->Reserve(8).value(), 8u);
  EXPECT_EQ(files_.Space("/r")->free_bytes, 2u);
  EXPECT_EQ(files_.TakenBytes("/r/a"), 8u);
  ASSERT_TRUE(file->Append({"1234567"}).ok());
  EXPECT_EQ(files_.Space("/r")->free_bytes, 2u);
  // A short write.
  EXPECT_EQ(file->Append({"890123456"}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(files_.Content("/r/a"), "1234567890");
  ASSERT_TRUE(file->CutTo(7).ok());
  EXPECT_EQ(file->size(), 7u);
  EXPECT_EQ(files_.Space("/r")->free_bytes, 3u);
  files_.SetCanReserve(false);
  EXPECT_EQ(file->Reserve(100).value(), 7u);
}

TEST_F(FaultyFileTest, FaultsComeWhereTheyWereAskedFor) {
  auto file = Named("/r/a");
  const uint64_t next = files_.operations() + 1;
  files_.FailAt(next, Fault::kIoError);
  files_.FailAt(next + 1, Fault::kShortNoSpace);
  files_.FailAt(next + 3, Fault::kIoError);
  EXPECT_EQ(file->Append({"abcd"}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(file->Append({"abcd"}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(files_.Content("/r/a"), "ab");
  EXPECT_TRUE(file->Append({"cd"}).ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "");
}

TEST_F(FaultyFileTest, BitsFlipInWhatIsStoredAndInWhatIsRead) {
  ASSERT_TRUE(files_.WriteFile("/r/a", "abc").ok());
  files_.FlipBit("/r/a", 1, 1);
  EXPECT_EQ(files_.Content("/r/a"), "a`c");
  files_.FlipBitOnRead(2);
  std::string read;
  ASSERT_TRUE((*files_.OpenForRead("/r/a"))->Read(1, 9, &read).ok());
  EXPECT_EQ(read, "`b");
  files_.FlipBitOnRead(std::nullopt);
  ASSERT_TRUE((*files_.OpenForRead("/r/a"))->Read(1, 9, &read).ok());
  EXPECT_EQ(read, "`c");
}

TEST_F(FaultyFileTest, ASyncHangsUntilItIsLetGo) {
  auto file = Named("/r/a");
  ASSERT_TRUE(file->Append({"x"}).ok());
  files_.HoldSyncs();
  std::thread sync([&] { EXPECT_TRUE(file->Sync().ok()); });
  EXPECT_TRUE(files_.WaitForHeldSync(absl::Seconds(20)));
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "");
  files_.LetSyncsGo();
  sync.join();
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "x");
}

TEST_F(FaultyFileTest, ANameGivenAwayIsDurableOnceItsFolderIsSynced) {
  ASSERT_TRUE(files_.WriteFile("/r/a", "old").ok());
  ASSERT_TRUE(files_.WriteFile("/r/b", "gone").ok());
  ASSERT_TRUE(ReplaceFile(&files_, "/r/a", "new").ok());
  ASSERT_TRUE(files_.Remove("/r/b").ok());
  EXPECT_EQ(files_.Content("/r/a"), "new");
  EXPECT_EQ(files_.Content("/r/b"), std::nullopt);
  EXPECT_THAT(files_.List("/r").value(), ElementsAre("a"));

  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "old");
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/b"), "gone");
  EXPECT_EQ(files_.Reboot(Loss::kNone, 1)->Content("/r/a"), "new");
  EXPECT_EQ(files_.Reboot(Loss::kNone, 1)->Content("/r/b"), std::nullopt);
  bool was_old = false;
  bool was_new = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto content = files_.Reboot(Loss::kSectors, seed)->Content("/r/a");
    ASSERT_TRUE(content == "old" || content == "new") << *content;
    (content == "old" ? was_old : was_new) = true;
  }
  EXPECT_TRUE(was_old && was_new);

  ASSERT_TRUE(files_.SyncDirectory("/r").ok());
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/a"), "new");
  EXPECT_EQ(files_.Reboot(Loss::kAll, 1)->Content("/r/b"), std::nullopt);
}

TEST_F(FaultyFileTest, AFileIsReplacedWholeWhereverThePowerIsCut) {
  ASSERT_TRUE(files_.WriteFile("/r/a", "old").ok());
  const uint64_t before = files_.operations();
  for (uint64_t step = 1;; ++step) {
    auto copy = files_.Reboot(Loss::kAll, 1);
    copy->CutPowerAt(step);
    const bool replaced = ReplaceFile(copy.get(), "/r/a", "new").ok() &&
                          copy->SyncDirectory("/r").ok();
    for (uint64_t seed = 0; seed < 20; ++seed) {
      for (const Loss loss : {Loss::kAll, Loss::kTail, Loss::kSectors}) {
        const auto content = copy->Reboot(loss, seed)->Content("/r/a");
        EXPECT_TRUE(content == "new" || (!replaced && content == "old"))
            << step << *content;
      }
    }
    if (replaced) break;
    ASSERT_LT(step, 20u);
  }
  EXPECT_EQ(files_.operations(), before);
}

TEST_F(FaultyFileTest, AFolderIsRemovedOnlyEmpty) {
  ASSERT_TRUE(files_.CreateDirectory("/r/d").ok());
  ASSERT_TRUE(files_.WriteFile("/r/d/a", "").ok());
  EXPECT_FALSE(files_.Remove("/r/d").ok());
  EXPECT_TRUE(files_.Remove("/r/d/a").ok());
  EXPECT_TRUE(files_.Remove("/r/d").ok());
  EXPECT_TRUE(absl::IsNotFound(files_.Remove("/r/d")));
}

TEST_F(FaultyFileTest, ListsWhatIsInAFolder) {
  ASSERT_TRUE(files_.CreateDirectory("/r/d").ok());
  ASSERT_TRUE(files_.WriteFile("/r/d/b", "").ok());
  ASSERT_TRUE(files_.WriteFile("/r/d/a", "").ok());
  ASSERT_TRUE(files_.WriteFile("/r/c", "").ok());
  EXPECT_THAT(files_.List("/r/d").value(), ElementsAre("a", "b"));
  EXPECT_THAT(files_.List("/r").value(), ElementsAre("c", "d"));
}

}  // namespace
}  // namespace diptych::base
