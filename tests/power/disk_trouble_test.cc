#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/faulty_file.h"
#include "archiver/base/limits.h"
#include "archiver/log/log_reader.h"
#include "tests/power/power_rig.h"

// A disk that is full, fails, hangs, or changes what it has stored, under the
// whole writing path.

namespace diptych::power {
namespace {

using base::FaultyFileSystem;
using testing::IsEmpty;
using Fault = FaultyFileSystem::Fault;

// How many operations the script takes.
uint64_t CountOperations(const Script& script) {
  FaultyFileSystem files("/archive");
  base::FakeClock clock;
  std::vector<Promised> promised;
  auto writer = Writer::Start(&script, &files, &clock);
  EXPECT_TRUE(writer.ok());
  EXPECT_TRUE(Drive(script, writer->get(), &clock, &promised));
  writer->reset();
  return files.operations();
}

// A new writer on the same disk: the gateways get through.
void GoOn(const Script& script, FaultyFileSystem* files, base::FakeClock* clock,
          std::vector<Promised> promised, const std::string& place) {
  {
    auto writer = Writer::Start(&script, files, clock);
    ASSERT_TRUE(writer.ok()) << place << ": " << writer.status();
    EXPECT_THAT(Compare(script, ReadArchive(script, files), promised, false),
                IsEmpty())
        << place;
    EXPECT_TRUE(Drive(script, writer->get(), clock, &promised)) << place;
  }
  EXPECT_THAT(Compare(script, ReadArchive(script, files), promised, true),
              IsEmpty())
      << place;
}

// Each operation in turn fails so. The writer goes on by itself, or says that
// it can't and a restart mends it.
void FailEveryOperation(Fault fault, bool can_reserve) {
  const Script script;
  const uint64_t operations = CountOperations(script);
  InParallel(operations, [&](uint64_t n) {
    const std::string place = absl::StrCat("fault at ", n + 1);
    FaultyFileSystem files("/archive");
    files.SetCanReserve(can_reserve);
    base::FakeClock clock;
    std::vector<Promised> promised;
    files.FailAt(n + 1, fault);
    bool through = false;
    {
      auto writer = Writer::Start(&script, &files, &clock);
      if (writer.ok()) {
        through = Drive(script, writer->get(), &clock, &promised);
        // Either it went on, or it says that it can't.
        EXPECT_EQ(through, (*writer)->health().ok()) << place;
        if (!through) {
          EXPECT_EQ((*writer)->health().code(), absl::StatusCode::kUnavailable)
              << place;
          // Nothing is acknowledged from here on.
          const std::vector<Promised> before = promised;
          EXPECT_FALSE(Drive(script, writer->get(), &clock, &promised))
              << place;
          for (size_t i = 0; i < before.size(); ++i) {
            EXPECT_EQ(promised[i].packets, before[i].packets) << place;
            EXPECT_EQ(promised[i].notes, before[i].notes) << place;
          }
        }
      }
    }
    const bool no_space =
        fault == Fault::kNoSpace || fault == Fault::kShortNoSpace;
    if (no_space && n < files.operations()) {
      const FaultyFileSystem::Operation failed = files.history()[n];
      if (failed == FaultyFileSystem::Operation::kReserve ||
          failed == FaultyFileSystem::Operation::kWrite) {
        EXPECT_TRUE(through) << place;
      }
    }
    files.ClearFaults();
    GoOn(script, &files, &clock, promised, place);
  });
}

TEST(DiskTroubleTest, ADiskFullAtAnyOperationIsGotOver) {
  FailEveryOperation(Fault::kNoSpace, /*can_reserve=*/true);
}

TEST(DiskTroubleTest, ADiskFullInTheMiddleOfAnyWriteIsGotOver) {
  FailEveryOperation(Fault::kShortNoSpace, /*can_reserve=*/false);
}

TEST(DiskTroubleTest,
     AnErrorAtAnyOperationEndsAcknowledgementsAndARestartMends) {
  FailEveryOperation(Fault::kIoError, /*can_reserve=*/true);
  FailEveryOperation(Fault::kShortIoError, /*can_reserve=*/true);
}

TEST(DiskTroubleTest, ADiskThatStaysFullHoldsGatewaysBackAndLosesNothing) {
  const Script script;
  FaultyFileSystem files("/archive");
  base::FakeClock clock;
  std::vector<Promised> promised;
  auto writer = Writer::Start(&script, &files, &clock);
  ASSERT_TRUE(writer.ok());
  std::thread space;
  const bool through =
      Drive(script, writer->get(), &clock, &promised, [&](size_t burst) {
        if (burst != 2) return;
        files.SetFreeBytes(0);
        space = std::thread([&] {
          // Not before it says so.
          EXPECT_TRUE((*writer)->WaitUnwell(kPatience));
          EXPECT_TRUE(absl::IsResourceExhausted((*writer)->health()));
          files.SetFreeBytes(1 << 30);
        });
      });
  space.join();
  EXPECT_TRUE(through);
  EXPECT_TRUE((*writer)->health().ok());
  writer->reset();
  EXPECT_THAT(Compare(script, ReadArchive(script, &files), promised, true),
              IsEmpty());
}

TEST(DiskTroubleTest, ASyncThatHangsIsSaidAndNothingIsAcknowledgedMeanwhile) {
  const Script script;
  FaultyFileSystem files("/archive");
  base::FakeClock clock;
  std::vector<Promised> promised;
  auto writer = Writer::Start(&script, &files, &clock);
  ASSERT_TRUE(writer.ok());
  std::thread watcher;
  const bool through =
      Drive(script, writer->get(), &clock, &promised, [&](size_t burst) {
        if (burst != 1) return;
        files.HoldSyncs();
        watcher = std::thread([&] {
          EXPECT_TRUE(files.WaitForHeldSync(kPatience));
          // What hangs has reached no disk.
          const auto lost = files.Reboot(FaultyFileSystem::Loss::kAll, 1);
          clock.Advance(limits::kCommitStuck + absl::Seconds(1));
          EXPECT_EQ((*writer)->health().code(),
                    absl::StatusCode::kDeadlineExceeded);
          EXPECT_THAT(
              Compare(script, ReadArchive(script, lost.get()), {}, false),
              IsEmpty());
          files.LetSyncsGo();
        });
      });
  watcher.join();
  EXPECT_TRUE(through);
  EXPECT_TRUE((*writer)->health().ok());
  writer->reset();
  EXPECT_THAT(Compare(script, ReadArchive(script, &files), promised, true),
              IsEmpty());
}

TEST(DiskTroubleTest, AFlippedBitIsNamedAndNeverDelivered) {
  const Script script;
  FaultyFileSystem files("/archive");
  base::FakeClock clock;
  std::vector<Promised> promised;
  {
    auto writer = Writer::Start(&script, &files, &clock);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(Drive(script, writer->get(), &clock, &promised));
  }
  std::vector<log::VolumeInfo> volumes;
  for (const char* store : {"/archive/volumes", "/archive/keystore"}) {
    const auto listed = log::LogReader(&files, store).ListVolumes().value();
    volumes.insert(volumes.end(), listed.begin(), listed.end());
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 600; ++i) {
    const log::VolumeInfo& volume = volumes[random() % volumes.size()];
    const uint64_t offset = random() % volume.size_bytes;
    const int bit = static_cast<int>(random() % 8);
    files.FlipBit(volume.path, offset, bit);
    const Reading reading = ReadArchive(script, &files);
    files.FlipBit(volume.path, offset, bit);
    const std::string place = absl::StrCat(volume.path, " byte ", offset);
    // Named with its place; a byte of the keys is so at least.
    ASSERT_EQ(reading.damages.size(), 1u) << place;
    const log::Damage& damage = reading.damages[0];
    EXPECT_EQ(damage.volume, volume.path);
    EXPECT_LE(damage.from, volume.base + offset) << place;
    EXPECT_GT(damage.to, volume.base + offset) << place;
    for (const std::string& problem : reading.problems) {
      EXPECT_FALSE(absl::StrContains(problem, "not what was sent"))
          << place << ": " << problem;
    }
  }
  EXPECT_THAT(Compare(script, ReadArchive(script, &files), promised, true),
              IsEmpty());
  // What the disk only reads wrongly is noticed as well.
  files.FlipBitOnRead(1000);
  EXPECT_THAT(ReadArchive(script, &files).damages, Not(IsEmpty()));
}

}  // namespace
}  // namespace diptych::power
