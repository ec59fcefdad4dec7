#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/faulty_file.h"
#include "archiver/log/log_reader.h"
#include "tests/power/power_rig.h"

// The power goes at every single operation on the disk in turn; whatever of
// what was not synced survives, everything acknowledged is there, gateways go
// on from where they are told, and the archive comes out whole.

namespace diptych::power {
namespace {

using base::FaultyFileSystem;
using testing::IsEmpty;
using Loss = FaultyFileSystem::Loss;

struct Case {
  Loss loss;
  uint64_t seed;
};

const std::vector<Case> kCases = {
    {Loss::kAll, 0},     {Loss::kNone, 0},    {Loss::kTail, 1},
    {Loss::kTail, 2},    {Loss::kSectors, 3}, {Loss::kSectors, 4},
    {Loss::kSectors, 5},
};

// The machine is on again: recovers, checks, and lets the gateways go on.
// Returns how many operations that took.
uint64_t GoOn(const Script& script, FaultyFileSystem* files,
              base::FakeClock* clock, std::vector<Promised> promised,
              const std::string& place) {
  {
    auto writer = Writer::Start(&script, files, clock);
    EXPECT_TRUE(writer.ok()) << place << ": " << writer.status();
    if (!writer.ok()) return 0;
    EXPECT_THAT(Compare(script, ReadArchive(script, files), promised, false),
                IsEmpty())
        << place;
    EXPECT_TRUE(Drive(script, writer->get(), clock, &promised)) << place;
  }
  EXPECT_THAT(Compare(script, ReadArchive(script, files), promised, true),
              IsEmpty())
      << place;
  return files->operations();
}

TEST(PowerLossTest, TheScriptComesThroughAndIsWhole) {
  const Script script;
  FaultyFileSystem files("/archive");
  base::FakeClock clock;
  std::vector<Promised> promised;
  {
    auto writer = Writer::Start(&script, &files, &clock);
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE(Drive(script, writer->get(), &clock, &promised));
  }
  for (const Promised& each : promised) EXPECT_TRUE(each.receipt.has_value());
  EXPECT_THAT(Compare(script, ReadArchive(script, &files), promised, true),
              IsEmpty());
  // Volumes have ended in its course, of both stores.
  EXPECT_GT(log::LogReader(&files, "/archive/volumes").ListVolumes()->size(),
            3u);
  EXPECT_GT(log::LogReader(&files, "/archive/keystore").ListVolumes()->size(),
            1u);
}

TEST(PowerLossTest, NothingAcknowledgedIsMissingWhereverThePowerGoes) {
  const Script script;
  uint64_t operations = 0;
  {
    FaultyFileSystem files("/archive");
    base::FakeClock clock;
    std::vector<Promised> promised;
    auto writer = Writer::Start(&script, &files, &clock);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(Drive(script, writer->get(), &clock, &promised));
    writer->reset();
    operations = files.operations();
  }
  ASSERT_GT(operations, 60u);
  // Some more: how commits are grouped differs from run to run.
  InParallel(operations + 10, [&](uint64_t n) {
    FaultyFileSystem files("/archive");
    base::FakeClock clock;
    std::vector<Promised> promised;
    files.CutPowerAt(n + 1);
    {
      auto writer = Writer::Start(&script, &files, &clock);
      if (writer.ok()) Drive(script, writer->get(), &clock, &promised);
    }
    for (const Case& each : kCases) {
      // Clocks of machines that were off are not to be believed.
      clock.Step(each.seed % 2 == 0 ? absl::Hours(1) : -absl::Hours(2));
      const auto after = files.Reboot(each.loss, each.seed * 1000 + n);
      GoOn(script, after.get(), &clock, promised,
           absl::StrCat("cut at ", n + 1, ", loss ",
                        static_cast<int>(each.loss), " seed ", each.seed));
    }
  });
  RecordProperty("operations", static_cast<int>(operations));
}

TEST(PowerLossTest, ThePowerMayGoAgainWhileItRecovers) {
  const Script script;
  for (const uint64_t first : {20, 30, 45, 55}) {
    FaultyFileSystem files("/archive");
    base::FakeClock clock;
    std::vector<Promised> promised;
    files.CutPowerAt(first);
    {
      auto writer = Writer::Start(&script, &files, &clock);
      ASSERT_TRUE(writer.ok());
      ASSERT_FALSE(Drive(script, writer->get(), &clock, &promised));
    }
    // Up to when gateways are let in again, and a little further.
    InParallel(30, [&](uint64_t n) {
      const auto second = files.Reboot(Loss::kSectors, first);
      base::FakeClock again;
      again.Step(absl::Hours(1));
      std::vector<Promised> more = promised;
      second->CutPowerAt(n + 1);
      {
        auto writer = Writer::Start(&script, second.get(), &again);
        if (writer.ok()) Drive(script, writer->get(), &again, &more);
      }
      for (const Case& each : kCases) {
        const auto third = second->Reboot(each.loss, each.seed + n);
        GoOn(script, third.get(), &again, more,
             absl::StrCat("cut at ", first, " and ", n + 1));
      }
    });
  }
}

// What a writer that died had only given to the cache, its successor tells
// gateways of, and must have made durable first.
TEST(PowerLossTest, APowerCutAfterAWriterThatDied) {
  const Script script;
  InParallel(120, [&](uint64_t n) {
    FaultyFileSystem files("/archive");
    base::FakeClock clock;
    std::vector<Promised> promised;
    files.FailAt(n + 1, FaultyFileSystem::Fault::kIoError);
    {
      auto writer = Writer::Start(&script, &files, &clock);
      if (writer.ok()) Drive(script, writer->get(), &clock, &promised);
    }
    files.ClearFaults();
    {
      auto writer = Writer::Start(&script, &files, &clock);
      ASSERT_TRUE(writer.ok()) << writer.status();
      files.CutPowerAt(files.operations() + 1 + n % 7);
      Drive(script, writer->get(), &clock, &promised);
    }
    for (const Case& each : kCases) {
      const auto after = files.Reboot(each.loss, each.seed + n);
      GoOn(script, after.get(), &clock, promised,
           absl::StrCat("died at ", n + 1, ", loss ",
                        static_cast<int>(each.loss), " seed ", each.seed));
    }
  });
}

}  // namespace
}  // namespace diptych::power
