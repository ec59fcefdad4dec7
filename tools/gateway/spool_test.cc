#include "tools/gateway/spool.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/spool_cipher.h"

namespace diptych::gateway {
namespace {

namespace fs = std::filesystem;
using api::v1::SIDE_CLERK;

class SpoolTest : public testing::Test {
 protected:
  SpoolTest() {
    options_.directory = testing::TempDir() + "/spool-" + id_.ToString();
    options_.file_bytes = 2000;
    sides_.resize(1);
    sides_[0].set_side(SIDE_CLERK);
    sides_[0].add_tracks()->set_track_id(9);
  }
  ~SpoolTest() override { fs::remove_all(options_.directory); }

  std::unique_ptr<Spool> Open() {
    auto spool = Spool::Open(options_, id_, sides_, absl::FromUnixSeconds(7));
    EXPECT_TRUE(spool.ok()) << spool.status();
    return spool.ok() ? *std::move(spool) : nullptr;
  }

  SpoolItem PacketOf(uint64_t number, uint32_t generation = 0) {
    auto packet = std::make_shared<api::v1::Packet>();
    packet->set_payload(std::string(300, 'p'));
    return {.kind = SpoolItem::Kind::kPacket,
            .side = SIDE_CLERK,
            .order = order_++,
            .number = number,
            .generation = generation,
            .packet = std::move(packet)};
  }

  // Each on its own, so that files are bounded by the item.
  void Append(Spool* spool, uint64_t first, uint64_t last) {
    for (uint64_t number = first; number <= last; ++number) {
      const SpoolItem items[] = {PacketOf(number)};
      ASSERT_TRUE(spool->Append(items).ok());
    }
  }

  static std::vector<uint64_t> ReadAll(Spool* spool) {
    std::vector<uint64_t> numbers;
    while (true) {
      auto items = spool->ReadNext();
      EXPECT_TRUE(items.ok()) << items.status();
      if (!items.ok() || items->empty()) return numbers;
      for (SpoolItem& item : *items) {
        Renumber(spool->state().renumberings, &item);
        numbers.push_back(item.number);
      }
    }
  }

  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry :
         fs::recursive_directory_iterator(options_.directory)) {
      if (entry.path().extension() == ".spool") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }

  static std::vector<uint64_t> Range(uint64_t first, uint64_t last) {
    std::vector<uint64_t> numbers;
    for (uint64_t n = first; n <= last; ++n) numbers.push_back(n);
    return numbers;
  }

  const base::Uuid id_ = base::Uuid::Random();
  SpoolOptions options_;
  std::vector<api::v1::OpenSide> sides_;
  uint64_t order_ = 0;
};

TEST_F(SpoolTest, AnotherProcessFindsEverything) {
  Append(Open().get(), 1, 20);
  EXPECT_GT(Files().size(), 2u);
  const auto spool = Open();
  ASSERT_TRUE(spool->recovered());
  EXPECT_EQ(spool->state().session_id, id_);
  EXPECT_EQ(spool->state().start_time, absl::FromUnixSeconds(7));
  EXPECT_EQ(spool->state().sides.at(SIDE_CLERK).last_sequence, 20u);
  EXPECT_EQ(spool->state().next_order, 20u);
  EXPECT_EQ(spool->oldest().sides.at(SIDE_CLERK).tracks.tracks_size(), 1);
  EXPECT_EQ(ReadAll(spool.get()), Range(1, 20));
}

TEST_F(SpoolTest, ATornTailIsLeftOutAndTold) {
  Append(Open().get(), 1, 5);
  const fs::path last = Files().back();
  for (const uint64_t cut : {1, 50, 200}) {
    fs::resize_file(last, fs::file_size(last) - cut);
    const auto spool = Open();
    EXPECT_FALSE(spool->damages().empty());
    const uint64_t known = spool->state().sides.at(SIDE_CLERK).last_sequence;
    EXPECT_LT(known, 5u);
    EXPECT_EQ(ReadAll(spool.get()), Range(1, known));
  }
}

TEST_F(SpoolTest, WhatFollowsATornTailIsRead) {
  Append(Open().get(), 1, 3);
  fs::resize_file(Files().back(), fs::file_size(Files().back()) - 1);
  {
    const auto spool = Open();
    order_ = spool->state().next_order;
    Append(spool.get(), 3, 6);
  }
  const auto spool = Open();
  EXPECT_EQ(ReadAll(spool.get()), Range(1, 6));
}

TEST_F(SpoolTest, WholeFilesGoOnceTheyAreDurable) {
  const auto spool = Open();
  Append(spool.get(), 1, 20);
  const size_t before = Files().size();
  api::v1::SideProgress progress;
  progress.set_side(SIDE_CLERK);
  progress.set_sequence(12);
  spool->MarkDurable(progress);
  ASSERT_TRUE(spool->Sync().ok());
  spool->Trim();
  EXPECT_LT(Files().size(), before);
  const std::vector<uint64_t> left = ReadAll(spool.get());
  EXPECT_LE(left.front(), 13u);
  EXPECT_GT(left.front(), 1u);
  EXPECT_EQ(left.back(), 20u);
}

TEST_F(SpoolTest, NumbersGrowByWhatTheArchiveSaid) {
  {
    const auto spool = Open();
    spool->SetProvisional();
    Append(spool.get(), 1, 6);
    const Renumbering renumberings[] = {
        {.side = SIDE_CLERK, .after = 4, .delta = 10}};
    ASSERT_TRUE(spool->AddRenumberings(renumberings).ok());
    const SpoolItem items[] = {PacketOf(17, /*generation=*/1)};
    ASSERT_TRUE(spool->Append(items).ok());
  }
  const auto spool = Open();
  EXPECT_FALSE(spool->state().sides.at(SIDE_CLERK).provisional);
  EXPECT_EQ(spool->state().sides.at(SIDE_CLERK).last_sequence, 17u);
  EXPECT_EQ(ReadAll(spool.get()),
            (std::vector<uint64_t>{1, 2, 3, 4, 15, 16, 17}));
}

TEST_F(SpoolTest, ARenumberingIsWrittenOnce) {
  const Renumbering renumberings[] = {
      {.side = SIDE_CLERK, .after = 4, .delta = 10}};
  {
    const auto spool = Open();
    spool->SetProvisional();
    Append(spool.get(), 1, 4);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(spool->AddRenumberings(renumberings).ok());
    }
  }
  const auto spool = Open();
  EXPECT_EQ(spool->state().renumberings.size(), 1u);
  EXPECT_EQ(spool->state().sides.at(SIDE_CLERK).last_sequence, 14u);
}

TEST_F(SpoolTest, ARefusedSideKeepsNoFiles) {
  const auto spool = Open();
  Append(spool.get(), 1, 20);
  ASSERT_TRUE(spool->Sync().ok());
  EXPECT_GT(Files().size(), 2u);
  spool->ForgetSide(SIDE_CLERK);
  spool->Trim();
  EXPECT_EQ(Files().size(), 1u);
}

TEST_F(SpoolTest, FilesStayUntilWhatReplacesThemIsSafe) {
  const auto spool = Open();
  Append(spool.get(), 1, 20);
  const size_t before = Files().size();
  api::v1::SideProgress progress;
  progress.set_side(SIDE_CLERK);
  progress.set_sequence(20);
  spool->MarkDurable(progress);
  spool->Trim();
  EXPECT_EQ(Files().size(), before);
  ASSERT_TRUE(spool->Sync().ok());
  spool->Trim();
  EXPECT_EQ(Files().size(), 1u);
}

TEST_F(SpoolTest, AFolderWithoutAFileIsRemoved) {
  const std::string folder = id_.ToString() + "-c";
  {
    const auto spool = Open();
    EXPECT_TRUE(
        absl::IsAborted(Spool::OpenExisting(options_, folder).status()));
    EXPECT_EQ(Spool::List(options_)->size(), 1u);
  }
  EXPECT_TRUE(absl::IsNotFound(Spool::OpenExisting(options_, folder).status()));
  EXPECT_TRUE(Spool::List(options_)->empty());
}

TEST_F(SpoolTest, DamageInTheMiddleIsTold) {
  Append(Open().get(), 1, 20);
  std::fstream(Files()[1], std::ios::in | std::ios::out | std::ios::binary)
      .seekp(-20, std::ios::end)
      .put('!');
  const auto spool = Open();
  EXPECT_TRUE(spool->damages().empty());
  EXPECT_LT(ReadAll(spool.get()).size(), 20u);
  EXPECT_EQ(spool->damages().size(), 1u);
}

TEST_F(SpoolTest, ProcessesThatStartTogetherHaveOneKey) {
  fs::create_directory(options_.directory);
  const std::string path = options_.directory + "/spool.key";
  constexpr int kProcesses = 8;
  std::vector<std::string> keys(kProcesses);
  std::vector<std::thread> threads;
  for (int i = 0; i < kProcesses; ++i) {
    threads.emplace_back([&keys, &path, i] {
      const auto key = LoadSpoolKey(path);
      if (key.ok()) keys[i] = *key;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& key : keys) {
    EXPECT_EQ(key.size(), kSpoolKey_bytes);
    EXPECT_EQ(key, keys[0]);
  }
  // And nothing else is left.
  EXPECT_EQ(std::distance(fs::directory_iterator(options_.directory), {}), 1);
}

TEST_F(SpoolTest, IsForOneProcessAndOneKey) {
  {
    const auto spool = Open();
    Append(spool.get(), 1, 1);
    EXPECT_TRUE(absl::IsAborted(
        Spool::OpenExisting(options_, id_.ToString() + "-c").status()));
  }
  EXPECT_EQ(Spool::List(options_)->size(), 1u);
  fs::remove(options_.directory + "/spool.key");
  EXPECT_TRUE(absl::IsFailedPrecondition(
      Spool::OpenExisting(options_, id_.ToString() + "-c").status()));
}

TEST_F(SpoolTest, IsBoundedAndLeavesNothingBehind) {
  options_.max_bytes = 3000;
  const auto spool = Open();
  absl::Status status;
  for (uint64_t number = 1; status.ok() && number < 100; ++number) {
    const SpoolItem items[] = {PacketOf(number)};
    status = spool->Append(items);
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_LT(spool->bytes(), 4000u);
  ASSERT_TRUE(spool->Remove().ok());
  EXPECT_TRUE(Files().empty());
}

}  // namespace
}  // namespace diptych::gateway
