#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/log/committer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"

namespace diptych::log {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Record Chunk(const std::string& header, const std::string& body) {
  return {RecordType::kChunk, header, body};
}

class LogTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/log-" + base::Uuid::Random().ToString();
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  absl::StatusOr<std::unique_ptr<LogStore>> TryOpen(
      uint64_t volume_max_bytes = 1 << 20, Position known_durable = 0) {
    report_ = RecoveryReport();
    return OpenLocalLogStore(base::FileSystem::Real(), base::Clock::Real(),
                             {.directory = volumes(),
                              .lost_and_found = root_ + "/lost+found",
                              .archive_id = archive_,
                              .store = "log",
                              .volume_max_bytes = volume_max_bytes,
                              .known_durable = known_durable},
                             &report_);
  }
  std::unique_ptr<LogStore> Open(uint64_t volume_max_bytes = 1 << 20) {
    auto store = TryOpen(volume_max_bytes);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  std::string volumes() const { return root_ + "/volumes"; }

  struct Contents {
    std::vector<std::string> headers;
    std::vector<Damage> damages;
    Position end = 0;
  };
  Contents ScanAll() const {
    const LogReader reader(base::FileSystem::Real(), volumes());
    Contents contents;
    const auto end = reader.Scan(
        {},
        [&](const StoredRecord& record) {
          if (record.type != RecordType::kVolumeHeader) {
            contents.headers.push_back(record.header);
            const auto again = reader.Read(record.position);
            EXPECT_TRUE(again.ok()) << again.status();
            EXPECT_EQ(again->body, record.body);
            EXPECT_EQ(again->end, record.end);
          }
          return absl::OkStatus();
        },
        [&](const Damage& damage) {
          contents.damages.push_back(damage);
          return absl::OkStatus();
        });
    EXPECT_TRUE(end.ok()) << end.status();
    contents.end = end.value_or(0);
    return contents;
  }

  std::string LastVolume() const {
    const LogReader reader(base::FileSystem::Real(), volumes());
    return reader.ListVolumes()->back().path;
  }

  static void FlipByte(const std::string& path, uint64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x10));
  }

  std::string root_;
  const base::Uuid archive_ = base::Uuid::Random();
  RecoveryReport report_;
};

TEST_F(LogTest, WhatWasSignedIsNoTornTail) {
  std::vector<Position> positions;
  {
    auto store = Open();
    // One batch: of itself the log can't tell that it was durable.
    positions = *store->Append({{RecordType::kChunk, "one", "body"},
                                {RecordType::kSegment, "two", ""}});
  }
  FlipByte(LastVolume(), positions[1] - 1);
  auto store = TryOpen(1 << 20, /*known_durable=*/positions[1] + 1);
  ASSERT_TRUE(store.ok()) << store.status();
  ASSERT_EQ(report_.damages.size(), 1u);
  EXPECT_TRUE(report_.damages[0].was_durable);
  EXPECT_TRUE(report_.moved_aside.empty());
  EXPECT_THAT(ScanAll().headers, testing::ElementsAre("two"));
  // And it goes on behind it, in a volume of its own.
  ASSERT_TRUE((*store)->Append({{RecordType::kSegment, "three", ""}}).ok());
  EXPECT_THAT(ScanAll().headers, testing::ElementsAre("two", "three"));
}

TEST_F(LogTest, WhatWasAppendedIsReadBackAfterReopen) {
  std::vector<Position> positions;
  {
    auto store = Open();
    positions = store->Append({Chunk("a", "1"), Chunk("b", "")}).value();
    EXPECT_GT(store->durable_end(), positions[1]);
  }
  auto store = Open();
  EXPECT_THAT(report_.damages, IsEmpty());
  ASSERT_TRUE(store->Append({Chunk("c", std::string(100'000, 'x'))}).ok());
  EXPECT_THAT(ScanAll().headers, ElementsAre("a", "b", "c"));
  EXPECT_EQ(ScanAll().end, store->durable_end());
  const LogReader reader(base::FileSystem::Real(), volumes());
  EXPECT_EQ(reader.Read(positions[0])->body, "1");
  EXPECT_EQ(reader.Read(store->durable_end()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(LogTest, VolumesFollowEachOtherWithoutAHole) {
  auto store = Open(1000);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(
        store->Append({Chunk(absl::StrCat(i), std::string(100, 'x'))}).ok());
  }
  const LogReader reader(base::FileSystem::Real(), volumes());
  const std::vector<VolumeInfo> infos = reader.ListVolumes().value();
  ASSERT_GT(infos.size(), 3u);
  for (size_t i = 1; i < infos.size(); ++i) {
    EXPECT_EQ(infos[i].base, infos[i - 1].base + infos[i - 1].size_bytes);
  }
  EXPECT_THAT(ScanAll().headers, SizeIs(50));
  EXPECT_THAT(ScanAll().damages, IsEmpty());
}

TEST_F(LogTest, AReaderSeesVolumesThatCameLater) {
  auto store = Open(500);
  const LogReader reader(base::FileSystem::Real(), volumes());
  for (int i = 0; i < 20; ++i) {
    const Position at =
        store->Append({Chunk(absl::StrCat(i), std::string(200, 'x'))})->front();
    EXPECT_EQ(reader.Read(at)->header, absl::StrCat(i));
  }
}

TEST_F(LogTest, EveryTornTailIsMovedAsideAndTheRestStays) {
  Position end = 0;
  {
    auto store = Open();
    ASSERT_TRUE(store->Append({Chunk("kept", "body")}).ok());
    end = store->durable_end();
    ASSERT_TRUE(store->Append({Chunk("torn", "some longer body")}).ok());
  }
  const std::string path = LastVolume();
  const uint64_t whole = std::filesystem::file_size(path);
  std::ifstream in(path, std::ios::binary);
  const std::string original((std::istreambuf_iterator<char>(in)), {});
  for (uint64_t cut = end + 1; cut < whole; ++cut) {
    std::filesystem::remove_all(root_ + "/lost+found");
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        << original.substr(0, cut);
    auto store = Open();
    EXPECT_EQ(store->durable_end(), end);
    ASSERT_THAT(report_.moved_aside, SizeIs(1));
    EXPECT_EQ(std::filesystem::file_size(report_.moved_aside[0]), cut - end);
    EXPECT_FALSE(report_.damages[0].was_durable);
    ASSERT_TRUE(store->Append({Chunk("next", "")}).ok());
    EXPECT_THAT(ScanAll().headers, ElementsAre("kept", "next"));
    EXPECT_THAT(ScanAll().damages, IsEmpty());
  }
}

TEST_F(LogTest, AHoleInTheLastBatchIsTornTooAndTakesTheRestOfItAlong) {
  {
    auto store = Open();
    ASSERT_TRUE(store->Append({Chunk("kept", "body")}).ok());
    const auto batch =
        store->Append({Chunk("x", "xxxx"), Chunk("y", "yyyy")}).value();
    FlipByte(LastVolume(), batch[0] + 50);
  }
  auto store = Open();
  EXPECT_THAT(report_.moved_aside, SizeIs(1));
  EXPECT_THAT(ScanAll().headers, ElementsAre("kept"));
}

TEST_F(LogTest, AVolumeThatKeptOnlyItsHeaderBeginsAnew) {
  Position base = 0;
  {
    auto store = Open(100);
    ASSERT_TRUE(store->Append({Chunk("kept", "body")}).ok());
    base = store->durable_end();
    const Position at = store->Append({Chunk("torn", "body")})->front();
    ASSERT_GT(at, base);
    std::filesystem::resize_file(LastVolume(), at - base);
  }
  auto store = Open(100);
  EXPECT_EQ(store->durable_end(), base);
  EXPECT_THAT(report_.moved_aside, SizeIs(1));
  // So that a snapshot comes first in it.
  EXPECT_TRUE(store->WantsSnapshot());
  ASSERT_TRUE(store->Append({Chunk("next", "")}).ok());
  EXPECT_THAT(ScanAll().headers, ElementsAre("kept", "next"));
  EXPECT_THAT(ScanAll().damages, IsEmpty());
}

TEST_F(LogTest, RotIsNoTornTailThoughNothingBehindItIsWhole) {
  std::vector<Position> at;
  {
    auto store = Open();
    for (const char* header : {"a", "b"}) {
      at.push_back(store->Append({Chunk(header, "body")})->front());
    }
  }
  const std::string path = LastVolume();
  for (const Position position : at) FlipByte(path, position + 50);
  auto store = Open();
  // The second may be torn; its frame says that the first had been durable.
  EXPECT_EQ(std::filesystem::file_size(path), at[1]);
  ASSERT_FALSE(report_.damages.empty());
  EXPECT_TRUE(report_.damages[0].was_durable);
  EXPECT_EQ(report_.damages[0].from, at[0]);
}

TEST_F(LogTest, DamageToWhatWasDurableIsNamedAndNothingIsCut) {
  Position at = 0;
  {
    auto store = Open();
    at = store->Append({Chunk("bad", "body")})->front();
    ASSERT_TRUE(store->Append({Chunk("good", "body")}).ok());
  }
  const std::string path = LastVolume();
  const uint64_t size = std::filesystem::file_size(path);
  FlipByte(path, at + 3);
  auto store = Open();
  EXPECT_EQ(std::filesystem::file_size(path), size);
  ASSERT_THAT(report_.damages, SizeIs(1));
  EXPECT_TRUE(report_.damages[0].was_durable);
  EXPECT_EQ(report_.damages[0].from, at);
  EXPECT_THAT(report_.moved_aside, IsEmpty());
  ASSERT_TRUE(store->Append({Chunk("after", "")}).ok());
  const Contents contents = ScanAll();
  EXPECT_THAT(contents.headers, ElementsAre("good", "after"));
  ASSERT_THAT(contents.damages, SizeIs(1));
  EXPECT_TRUE(contents.damages[0].was_durable);
}

TEST_F(LogTest, TwoDamagedRecordsInARowAreBothKnownAsDurable) {
  std::vector<Position> at;
  {
    auto store = Open();
    for (const char* header : {"a", "b", "c"}) {
      at.push_back(store->Append({Chunk(header, "body")})->front());
    }
  }
  FlipByte(LastVolume(), at[0] + 50);
  FlipByte(LastVolume(), at[1] + 50);
  const Contents contents = ScanAll();
  ASSERT_THAT(contents.damages, SizeIs(2));
  EXPECT_TRUE(contents.damages[0].was_durable);
  EXPECT_TRUE(contents.damages[1].was_durable);
  EXPECT_THAT(contents.headers, ElementsAre("c"));
}

TEST_F(LogTest, EveryFlippedByteOfARecordIsNoticed) {
  Position at = 0;
  Position end = 0;
  {
    auto store = Open();
    at = store->Append({Chunk("header", "body")})->front();
    end = store->durable_end();
    ASSERT_TRUE(store->Append({Chunk("good", "")}).ok());
  }
  const std::string path = LastVolume();
  const LogReader reader(base::FileSystem::Real(), volumes());
  for (uint64_t offset = at; offset < end; ++offset) {
    FlipByte(path, offset);
    const auto record = reader.Read(at);
    EXPECT_EQ(record.status().code(), absl::StatusCode::kDataLoss) << offset;
    EXPECT_THAT(std::string(record.status().message()),
                HasSubstr(absl::StrCat("at byte ", at)));
    EXPECT_THAT(ScanAll().headers, ElementsAre("good")) << offset;
    FlipByte(path, offset);
  }
  EXPECT_THAT(ScanAll().headers, ElementsAre("header", "good"));
}

TEST_F(LogTest, AnotherArchivesVolumeIsRefused) {
  ASSERT_TRUE(Open()->Append({Chunk("a", "")}).ok());
  RecoveryReport report;
  EXPECT_EQ(OpenLocalLogStore(base::FileSystem::Real(), base::Clock::Real(),
                              {.directory = volumes(),
                               .lost_and_found = root_ + "/lost+found",
                               .archive_id = base::Uuid::Random(),
                               .store = "log",
                               .volume_max_bytes = 1000},
                              &report)
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(LogTest, CommitterKeepsOrderGroupsAndCallsEachBackOnce) {
  auto store = Open(4000);
  constexpr int kItems = 500;
  std::vector<int> called(kItems, 0);
  std::vector<Position> positions(kItems);
  std::vector<std::string> seen;
  int snapshots = 0;
  {
    Committer committer(
        store.get(),
        {.snapshot =
             [&] {
               ++snapshots;
               return std::optional<Record>(
                   {RecordType::kSnapshot, "", "state"});
             },
         .on_record = [&](const Record& record,
                          Position) { seen.push_back(record.header); }});
    for (int i = 0; i < kItems; ++i) {
      // Lets what is queued go out, so that a volume can fill up and end.
      if (i % 100 == 0) ASSERT_TRUE(committer.SubmitAndWait({}).ok());
      ASSERT_TRUE(committer
                      .Submit({Chunk(absl::StrCat(i), "first"),
                               Chunk(absl::StrCat(i, "b"), "second")},
                              [&, i](const auto& result) {
                                ASSERT_TRUE(result.ok());
                                ASSERT_EQ(result->size(), 2u);
                                ++called[i];
                                positions[i] = result->front();
                              })
                      .ok());
    }
  }
  EXPECT_THAT(called, testing::Each(1));
  EXPECT_GT(snapshots, 1);
  const LogReader reader(base::FileSystem::Real(), volumes());
  for (int i = 0; i < kItems; ++i) {
    EXPECT_EQ(reader.Read(positions[i])->header, absl::StrCat(i));
    EXPECT_EQ(seen[2 * i], absl::StrCat(i));
    EXPECT_EQ(seen[2 * i + 1], absl::StrCat(i, "b"));
  }
}

}  // namespace
}  // namespace diptych::log
