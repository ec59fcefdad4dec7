#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/faulty_file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/log/committer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"

namespace diptych::log {
namespace {

using base::FaultyFileSystem;
using testing::ElementsAre;
using testing::IsEmpty;
using Fault = FaultyFileSystem::Fault;
using Operation = FaultyFileSystem::Operation;

// How long anything may take that should happen at once.
constexpr absl::Duration kPatience = absl::Seconds(20);

Record Chunk(const std::string& header, size_t body_bytes = 100) {
  return {RecordType::kChunk, header, std::string(body_bytes, 'x')};
}

bool IsNoSpace(const absl::Status& status) {
  return absl::IsResourceExhausted(status);
}

// What a committer says of its health, in order.
class Told {
 public:
  void Add(std::string what) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    told_.push_back(std::move(what));
    changed_.NotifyAll();
  }
  std::vector<std::string> Wait(size_t count) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    while (told_.size() < count) {
      if (!changed_.WaitWithTimeout(&mutex_, kPatience)) break;
    }
    return told_;
  }
  Committer::Hooks Hooks() {
    return {.on_unhealthy =
                [this](const absl::Status& status) {
                  Add(absl::StatusCodeToString(status.code()));
                },
            .on_healthy = [this] { Add("well"); }};
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<std::string> told_ ABSL_GUARDED_BY(mutex_);
};

// Results of a committer's submissions, in the order they came.
class Results {
 public:
  Committer::Done Expect(int number) {
    return [this, number](const auto& result) {
      base::MutexLock lock(&mutex_);
      done_.push_back(number);
      ok_ = ok_ && result.ok();
      changed_.NotifyAll();
    };
  }
  std::vector<int> Wait(size_t count) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    while (done_.size() < count) {
      if (!changed_.WaitWithTimeout(&mutex_, kPatience)) break;
    }
    return done_;
  }
  bool ok() ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    return ok_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<int> done_ ABSL_GUARDED_BY(mutex_);
  bool ok_ ABSL_GUARDED_BY(mutex_) = true;
};

class DiskFaultTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<LogStore>> TryOpen() {
    report_ = RecoveryReport();
    return OpenLocalLogStore(&files_, &clock_,
                             {.directory = "/r/volumes",
                              .lost_and_found = "/r/lost+found",
                              .archive_id = archive_,
                              .store = "log",
                              .volume_max_bytes = volume_max_bytes_,
                              .floor_bytes = floor_bytes_},
                             &report_);
  }
  std::unique_ptr<LogStore> Open() {
    auto store = TryOpen();
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  std::vector<std::string> Headers() {
    const LogReader reader(&files_, "/r/volumes");
    std::vector<std::string> headers;
    EXPECT_TRUE(reader
                    .Scan(
                        {},
                        [&](const StoredRecord& record) {
                          if (record.type == RecordType::kChunk) {
                            headers.push_back(record.header);
                          }
                          return absl::OkStatus();
                        },
                        [](const Damage& damage) {
                          ADD_FAILURE() << damage.what;
                          return absl::OkStatus();
                        })
                    .ok());
    return headers;
  }

  std::string LastVolume() {
    return LogReader(&files_, "/r/volumes").ListVolumes()->back().path;
  }

  uint64_t volume_max_bytes_ = 64 << 20;
  uint64_t floor_bytes_ = 0;
  FaultyFileSystem files_{"/r"};
  base::FakeClock clock_;
  const base::Uuid archive_ = base::Uuid::Random();
  RecoveryReport report_;
};

TEST_F(DiskFaultTest, SpaceIsTakenAheadAndGivenBackAtTheEnd) {
  auto store = Open();
  ASSERT_TRUE(store->Append({Chunk("a")}).ok());
  const std::string volume = LastVolume();
  EXPECT_EQ(files_.TakenBytes(volume), limits::kReserveStep_bytes);
  EXPECT_LT(files_.Content(volume)->size(), 1000u);
  // Not one more reservation while there is some left.
  const auto reserved = [&] {
    int count = 0;
    for (const Operation operation : files_.history()) {
      if (operation == Operation::kReserve) ++count;
    }
    return count;
  };
  EXPECT_EQ(reserved(), 1);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(store->Append({Chunk("b")}).ok());
  EXPECT_EQ(reserved(), 1);
  ASSERT_TRUE(store->Append({Chunk("c", 5 << 20)}).ok());
  ASSERT_TRUE(store->Append({Chunk("d", 5 << 20)}).ok());
  EXPECT_EQ(reserved(), 2);
  store.reset();
  EXPECT_EQ(files_.TakenBytes(volume), files_.Content(volume)->size());
}

TEST_F(DiskFaultTest, AVolumeThatEndsGivesItsSpaceBack) {
  volume_max_bytes_ = 1000;
  auto store = Open();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(store->Append({Chunk(absl::StrCat(i), 300)}).ok());
  }
  const auto volumes = LogReader(&files_, "/r/volumes").ListVolumes().value();
  ASSERT_GT(volumes.size(), 2u);
  for (size_t i = 0; i + 1 < volumes.size(); ++i) {
    EXPECT_EQ(files_.TakenBytes(volumes[i].path), volumes[i].size_bytes);
  }
}

TEST_F(DiskFaultTest, AFullDiskIsMetBeforeAnythingIsWritten) {
  auto store = Open();
  ASSERT_TRUE(store->Append({Chunk("a")}).ok());
  files_.SetFreeBytes(1 << 20);
  // What was taken ahead is still there to be used.
  ASSERT_TRUE(store->Append({Chunk("b", 4 << 20)}).ok());
  const Position end = store->durable_end();
  const std::string before = *files_.Content(LastVolume());
  EXPECT_TRUE(IsNoSpace(store->Append({Chunk("c", 6 << 20)}).status()));
  EXPECT_TRUE(IsNoSpace(store->Append({Chunk("c", 6 << 20)}).status()));
  EXPECT_EQ(*files_.Content(LastVolume()), before);
  EXPECT_EQ(store->durable_end(), end);
  files_.SetFreeBytes(100 << 20);
  ASSERT_TRUE(store->Append({Chunk("c", 6 << 20)}).ok());
  EXPECT_THAT(Headers(), ElementsAre("a", "b", "c"));
}

TEST_F(DiskFaultTest, TheLastSpaceOfADiskIsLeftAlone) {
  floor_bytes_ = 16 << 20;
  auto store = Open();
  ASSERT_TRUE(store->Append({Chunk("a")}).ok());
  files_.SetFreeBytes((16 << 20) + 1000);
  // The rest above the floor is given out exactly.
  ASSERT_TRUE(store->Append({Chunk("b", 8 << 20)}).ok());
  EXPECT_TRUE(IsNoSpace(store->Append({Chunk("c", 2000)}).status()));
  EXPECT_GE(files_.Space("/r")->free_bytes, uint64_t{16 << 20});
  files_.SetFreeBytes(15 << 20);
  EXPECT_TRUE(IsNoSpace(store->Append({Chunk("d", 2000)}).status()));
  EXPECT_THAT(Headers(), ElementsAre("a", "b"));
}

TEST_F(DiskFaultTest, WithoutReservationWhatWasWrittenInPartIsTakenBack) {
  files_.SetCanReserve(false);
  volume_max_bytes_ = 2000;
  auto store = Open();
  std::vector<std::string> expected;
  for (int i = 0; i < 20; ++i) {
    const std::string name = absl::StrCat(i);
    // Free is more than what Space is asked for, and yet the write fails.
    files_.FailAt(files_.operations() + (store->WantsSnapshot() ? 3 : 2),
                  Fault::kShortNoSpace);
    auto first = store->Append({Chunk(name, 500)});
    if (!first.ok()) {
      ASSERT_TRUE(IsNoSpace(first.status())) << first.status();
      ASSERT_TRUE(store->Append({Chunk(name, 500)}).ok());
    }
    expected.push_back(name);
  }
  EXPECT_EQ(Headers(), expected);
  store.reset();
  Open();
  EXPECT_THAT(report_.damages, IsEmpty());
}

TEST_F(DiskFaultTest, ACutThatFailsIsFinal) {
  files_.SetCanReserve(false);
  auto store = Open();
  ASSERT_TRUE(store->Append({Chunk("a")}).ok());
  files_.FailAt(files_.operations() + 2, Fault::kShortNoSpace);
  files_.FailAt(files_.operations() + 3, Fault::kNoSpace);
  const absl::Status failed = store->Append({Chunk("b")}).status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kInternal) << failed;
  EXPECT_EQ(store->Append({Chunk("c")}).status(), failed);
  store.reset();
  ASSERT_TRUE(Open()->Append({Chunk("c")}).ok());
  EXPECT_EQ(report_.moved_aside.size(), 1u);
  EXPECT_THAT(Headers(), ElementsAre("a", "c"));
}

TEST_F(DiskFaultTest, ASyncThatFindsNoSpaceIsFinalToo) {
  auto store = Open();
  ASSERT_TRUE(store->Append({Chunk("a")}).ok());
  files_.FailAt(files_.operations() + 2, Fault::kNoSpace);
  const absl::Status failed = store->Append({Chunk("b")}).status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kInternal) << failed;
  EXPECT_FALSE(store->Append({Chunk("c")}).ok());
}

TEST_F(DiskFaultTest, EveryFailingOperationIsEitherFinalOrHasDoneNothing) {
  for (const Fault fault : {Fault::kNoSpace, Fault::kShortNoSpace,
                            Fault::kIoError, Fault::kShortIoError}) {
    bool failed_once = true;
    uint64_t number = 1;
    for (; failed_once; ++number) {
      FaultyFileSystem files("/r");
      LocalLogStoreOptions options = {.directory = "/r/volumes",
                                      .lost_and_found = "/r/lost+found",
                                      .archive_id = archive_,
                                      .store = "log",
                                      .volume_max_bytes = 700};
      std::vector<std::string> stored;
      failed_once = false;
      files.FailAt(number, fault);
      {
        auto store = OpenLocalLogStore(&files, &clock_, options, &report_);
        if (!store.ok()) {
          failed_once = true;
        } else {
          bool final = false;
          for (int i = 0; i < 8; ++i) {
            const std::string name = absl::StrCat(i);
            absl::Status status = (*store)->Append({Chunk(name)}).status();
            failed_once = failed_once || !status.ok();
            if (IsNoSpace(status)) {
              EXPECT_FALSE(final);
              status = (*store)->Append({Chunk(name)}).status();
              EXPECT_TRUE(status.ok()) << status;
            }
            // Nothing is taken any more.
            EXPECT_FALSE(final && status.ok());
            final = final || !status.ok();
            if (status.ok()) stored.push_back(name);
          }
        }
      }
      auto again = OpenLocalLogStore(&files, &clock_, options, &report_);
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_TRUE((*again)->Append({Chunk("end")}).ok());
      std::vector<std::string> found;
      ASSERT_TRUE(LogReader(&files, "/r/volumes")
                      .Scan(
                          {},
                          [&](const StoredRecord& record) {
                            if (record.type == RecordType::kChunk) {
                              found.push_back(record.header);
                            }
                            return absl::OkStatus();
                          },
                          [](const Damage& damage) {
                            ADD_FAILURE() << damage.what;
                            return absl::OkStatus();
                          })
                      .ok());
      // A batch that failed at its sync may be there or not.
      ASSERT_GE(found.size(), stored.size() + 1) << "operation " << number;
      for (size_t i = 0; i < stored.size(); ++i) {
        EXPECT_EQ(found[i], stored[i]) << "operation " << number;
      }
      EXPECT_EQ(found.back(), "end");
    }
    EXPECT_GT(number, 20u);
  }
}

TEST_F(DiskFaultTest, CommitterWaitsForSpaceKeepsOrderAndGoesOnByItself) {
  auto store = Open();
  Told told;
  Results results;
  Committer committer(store.get(), told.Hooks(), &clock_);
  ASSERT_TRUE(committer.SubmitAndWait({Chunk("ok")}).ok());
  files_.SetFreeBytes(100);
  ASSERT_TRUE(committer.Submit({Chunk("0", 8 << 20)}, results.Expect(0)).ok());
  EXPECT_THAT(told.Wait(1), ElementsAre("RESOURCE_EXHAUSTED"));
  EXPECT_TRUE(IsNoSpace(committer.health()));
  // Small enough to fit, and still behind the other.
  for (int i = 1; i < 5; ++i) {
    ASSERT_TRUE(
        committer.Submit({Chunk(absl::StrCat(i))}, results.Expect(i)).ok());
  }
  EXPECT_THAT(results.Wait(0), IsEmpty());
  EXPECT_EQ(committer.SubmitAndWait({}, absl::Milliseconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GT(committer.queued_bytes(), size_t{8 << 20});
  files_.SetFreeBytes(1 << 30);
  EXPECT_THAT(results.Wait(5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_TRUE(results.ok());
  EXPECT_THAT(told.Wait(2), ElementsAre("RESOURCE_EXHAUSTED", "well"));
  EXPECT_TRUE(committer.health().ok());
  EXPECT_THAT(Headers(), ElementsAre("ok", "0", "1", "2", "3", "4"));
}

TEST_F(DiskFaultTest, AStopWhileTheDiskIsFullFailsWhatWaitsInOrder) {
  auto store = Open();
  Told told;
  Results results;
  {
    Committer committer(store.get(), told.Hooks(), &clock_);
    ASSERT_TRUE(committer.SubmitAndWait({Chunk("ok")}).ok());
    files_.SetFreeBytes(100);
    ASSERT_TRUE(
        committer.Submit({Chunk("0", 8 << 20)}, results.Expect(0)).ok());
    told.Wait(1);
    // Would fit, but nothing overtakes.
    ASSERT_TRUE(committer.Submit({Chunk("1")}, results.Expect(1)).ok());
  }
  EXPECT_THAT(results.Wait(2), ElementsAre(0, 1));
  EXPECT_FALSE(results.ok());
  EXPECT_THAT(Headers(), ElementsAre("ok"));
}

TEST_F(DiskFaultTest, AStopNeedNotWaitForSpace) {
  auto store = Open();
  Committer committer(store.get(), {}, &clock_);
  files_.SetFreeBytes(10);
  Results results;
  ASSERT_TRUE(committer.Submit({Chunk("0")}, results.Expect(0)).ok());
  committer.SetWaitsForSpace(false);
  EXPECT_FALSE(committer.SubmitAndWait({}).ok());
  EXPECT_THAT(results.Wait(1), ElementsAre(0));
  EXPECT_FALSE(results.ok());
}

TEST_F(DiskFaultTest, AfterAFailedSyncNothingIsEverAcknowledgedAgain) {
  auto store = Open();
  Told told;
  {
    Committer committer(store.get(), told.Hooks(), &clock_);
    EXPECT_TRUE(committer.SubmitAndWait({Chunk("ok")}).ok());
    files_.FailAt(files_.operations() + 2, Fault::kIoError);
    EXPECT_FALSE(committer.SubmitAndWait({Chunk("lost")}).ok());
    EXPECT_FALSE(committer.SubmitAndWait({Chunk("retry")}).ok());
    EXPECT_FALSE(committer.Submit({Chunk("retry")}, nullptr).ok());
    EXPECT_EQ(committer.health().code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(
        absl::StrContains(committer.health().message(), "Input/output error"));
  }
  EXPECT_THAT(told.Wait(1), ElementsAre("UNAVAILABLE"));
  EXPECT_FALSE(store->Append({Chunk("retry")}).ok());
}

TEST_F(DiskFaultTest, AHungSyncIsSaidAndGoesOnWhenItComesBack) {
  auto store = Open();
  Told told;
  Results results;
  Committer committer(store.get(), told.Hooks(), &clock_);
  ASSERT_TRUE(committer.SubmitAndWait({Chunk("ok")}).ok());
  files_.HoldSyncs();
  ASSERT_TRUE(committer.Submit({Chunk("late")}, results.Expect(0)).ok());
  ASSERT_TRUE(files_.WaitForHeldSync(kPatience));
  clock_.Advance(limits::kCommitStuck);
  EXPECT_TRUE(committer.health().ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(committer.health().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(told.Wait(1), ElementsAre("DEADLINE_EXCEEDED"));
  EXPECT_THAT(results.Wait(0), IsEmpty());
  files_.LetSyncsGo();
  EXPECT_THAT(results.Wait(1), ElementsAre(0));
  EXPECT_TRUE(results.ok());
  EXPECT_THAT(told.Wait(2), ElementsAre("DEADLINE_EXCEEDED", "well"));
}

}  // namespace
}  // namespace diptych::log
