#include "indexer/builder/rebuild.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/posting_block.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStart_us = 1'700'000'000'000'000;

using Rows = std::map<std::string, std::string>;

class RebuildTest : public ::testing::Test {
 protected:
  RebuildTest()
      : folder_(absl::StrCat(
            ::testing::TempDir(), "/rebuild_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    archive_ = std::make_unique<SyntheticArchive>(folder_, 1 << 20);
  }

  // Sessions of all kinds, side by side: handed over, without media, open at
  // the end, opened again after their end, with notes that came late, with
  // records that no key opens, with events, gaps and attachments.
  void MakeSessions(int count) {
    std::vector<base::Uuid> open;
    for (int i = 0; i < count; ++i) {
      const base::Uuid id =
          archive_->Open(kStart_us + int64_t{i / 4} * 700'000);
      open.push_back(id);
      archive_->Tag(id, "resident", {absl::StrCat("R", i % 7)}, 0);
      archive_->Tag(id, "item", {absl::StrCat("I", i % 5)}, 0);
      archive_->Tag(id, "clerk", {absl::StrCat("C", i % 3)}, 0);
      while (open.size() > 6 || (i + 1 == count && open.size() > 2)) {
        const size_t at = random_() % open.size();
        const base::Uuid busy = open[at];
        Work(busy);
        if (random_() % 3 != 0) continue;
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
        archive_->Close(busy);
        closed_.push_back(busy);
        if (random_() % 5 == 0) ComeBack(closed_[random_() % closed_.size()]);
      }
    }
  }

  // Something of a session.
  void Work(const base::Uuid& id) {
    int64_t& at_us = times_[id];
    switch (random_() % 8) {
      case 0:
        archive_->Tag(id, "clerk", {absl::StrCat("C", random_() % 5)}, at_us);
        break;
      case 1:
        archive_->Event(id, "card_read", at_us);
        break;
      case 2:
        if (!unopenable_) break;
        archive_->UnopenableNotes(id, stored::v1::SIDE_CLERK);
        break;
      case 3:
        // Late: for a time long past.
        archive_->Tag(id, "item", {"late"}, at_us / 2);
        break;
      case 4:
        archive_->Resume(id);
        break;
      case 5:
        archive_->AttachmentPart(id, 1, static_cast<uint64_t>(at_us));
        break;
      default:
        break;
    }
    archive_->Segment(id, at_us, at_us + 10 * kSecond_us);
    at_us += 10 * kSecond_us;
  }

  // Of a session that was closed.
  void ComeBack(const base::Uuid& id) {
    archive_->Resume(id);
    archive_->Tag(id, "rating", {"5"}, 0);
    Work(id);
    archive_->Close(id);
  }

  RebuildOptions Options() {
    RebuildOptions options;
    options.data_directory = folder_;
    options.index_directory = folder_ + "/rebuilt";
    options.archive_id = archive_->archive_id();
    options.index_keys = &archive_->index_keys();
    options.recipient_keys = archive_->RecipientKeys();
    return options;
  }

  // All rows, opened; and the state's, with what depends on batches left out.
  Rows Content(const IndexStore& store) {
    Rows content;
    const auto snapshot = store.NewSnapshot();
    for (size_t i = 0; i < kFamilies; ++i) {
      const auto family = static_cast<Family>(i);
      if (family == Family::kChanges) continue;
      const bool sealed = family == Family::kSessions ||
                          family == Family::kDetails ||
                          family == Family::kDictionary;
      const auto rows = snapshot->NewIterator(family, "", "");
      for (rows->Seek(""); rows->Valid(); rows->Next()) {
        std::string value(rows->value());
        if (sealed) {
          value = archive_->index_keys()
                      .OpenRow(RowContext(family, rows->key()), value)
                      .value();
        }
        // Who left a list leaves a block behind that says nothing.
        if (family == Family::kPostings &&
            PostingBlockReader::Open(value).value().sessions() == 0) {
          continue;
        }
        if (family == Family::kMeta && rows->key() == kStateKey) {
          stored::v1::IndexState state;
          EXPECT_TRUE(state.ParseFromString(value));
          state.clear_changes_from();
          value = state.ShortDebugString();
        }
        content[absl::StrCat(i, " ", absl::BytesToHexString(rows->key()))] =
            absl::BytesToHexString(value);
      }
      EXPECT_TRUE(rows->status().ok());
    }
    return content;
  }

  // As the index comes to be while the log grows.
  Rows Incremental(size_t batch = 7) {
    const std::string index = folder_ + "/incremental";
    fs::remove_all(index);
    const std::unique_ptr<IndexStore> store =
        IndexStore::Open(index, archive_->archive_id()).value();
    const auto builder = Builder(store.get());
    LogPump pump(&archive_->log(), builder.get(), batch);
    EXPECT_TRUE(pump.PumpUntil(archive_->durable_end(),
                               [](log::Position) { return absl::OkStatus(); })
                    .ok());
    return Content(*store);
  }

  std::unique_ptr<IndexBuilder> Builder(IndexStore* store) {
    IndexBuilder::Options options;
    options.archive_id = archive_->archive_id();
    options.store = store;
    options.index_keys = &archive_->index_keys();
    options.log = &archive_->log();
    options.key_store = &archive_->key_store();
    options.recipient_keys = archive_->RecipientKeys();
    return IndexBuilder::Create(std::move(options)).value();
  }

  Rows Rebuilt() {
    const auto store =
        IndexStore::Open(folder_ + "/rebuilt", archive_->archive_id());
    EXPECT_TRUE(store.ok()) << store.status();
    return Content(**store);
  }

  static void ExpectSame(const Rows& rebuilt, const Rows& incremental) {
    EXPECT_EQ(rebuilt.size(), incremental.size());
    size_t shown = 0;
    for (const auto& [key, value] : incremental) {
      const auto found = rebuilt.find(key);
      if (found != rebuilt.end() && found->second == value) continue;
      if (++shown > 5) break;
      ADD_FAILURE() << key << "\n  incremental " << value << "\n  rebuilt     "
                    << (found == rebuilt.end() ? "(none)" : found->second);
    }
    for (const auto& [key, value] : rebuilt) {
      if (!incremental.contains(key) && ++shown <= 5) {
        ADD_FAILURE() << "only rebuilt: " << key;
      }
    }
  }

  void DamageByte(log::Position position) {
    const auto volumes = archive_->log().ListVolumes().value();
    for (const auto& volume : volumes) {
      if (position < volume.base ||
          position >= volume.base + volume.size_bytes) {
        continue;
      }
      std::fstream file(volume.path,
                        std::ios::in | std::ios::out | std::ios::binary);
      const auto at = static_cast<std::streamoff>(position - volume.base);
      file.seekg(at);
      const int byte = file.get();
      file.seekp(at);
      file.put(static_cast<char>(byte ^ 0x55));
    }
  }

  const std::string folder_;
  std::unique_ptr<SyntheticArchive> archive_;
  std::vector<base::Uuid> closed_;
  std::map<base::Uuid, int64_t> times_;
  // Whether some records open with no key.
  bool unopenable_ = true;
  std::mt19937 random_{20240229};
};

TEST_F(RebuildTest, GivesTheRowsThatFollowingGives) {
  MakeSessions(60);
  ASSERT_TRUE(RebuildIndex(Options()).ok());
  ExpectSame(Rebuilt(), Incremental());
  EXPECT_FALSE(fs::exists(RebuildFolder(folder_ + "/rebuilt")));
}

TEST_F(RebuildTest, SoItDoesWhereTheLogIsDamaged) {
  MakeSessions(30);
  // Openings, notes, manifests; headers and bodies.
  const log::Position end = archive_->durable_end();
  for (int i = 1; i <= 25; ++i) {
    DamageByte(end / 27 * static_cast<uint64_t>(i) + random_() % 300);
  }
  ASSERT_TRUE(RebuildIndex(Options()).ok());
  const Rows incremental = Incremental();
  ExpectSame(Rebuilt(), incremental);
}

TEST_F(RebuildTest, SoItDoesAfterKeysWereRotated) {
  MakeSessions(20);
  archive_->RotateIndexKey(seal::KeyPair::Generate("index"));
  MakeSessions(10);
  ASSERT_TRUE(RebuildIndex(Options()).ok());
  ExpectSame(Rebuilt(), Incremental());
}

// Told to stop at any place and started again, it comes to the same.
TEST_F(RebuildTest, GoesOnWhereItWasCutShort) {
  unopenable_ = false;
  MakeSessions(60);
  const Rows incremental = Incremental();
  RebuildOptions options = Options();
  options.pace.checkpoint_bytes = archive_->durable_end() / 9;
  int stops = 0;
  log::Position furthest = 0;
  for (;;) {
    const int allowed = 1 + stops / 6;
    int calls = 0;
    options.recipient_keys = archive_->RecipientKeys();
    options.on_progress = [&](const RebuildProgress& progress) {
      if (progress.phase == RebuildProgress::Phase::kReading) {
        furthest = std::max<log::Position>(furthest, progress.done);
      }
      return ++calls > allowed ? absl::CancelledError("stop")
                               : absl::OkStatus();
    };
    const auto state = RebuildIndex(options);
    if (state.ok()) break;
    ASSERT_TRUE(absl::IsCancelled(state.status())) << state.status();
    ++stops;
    ASSERT_LT(stops, 100);
  }
  EXPECT_GT(stops, 3);
  ExpectSame(Rebuilt(), incremental);
}

TEST_F(RebuildTest, ACheckpointThatDoesNotFitIsThrownAway) {
  unopenable_ = false;
  MakeSessions(20);
  RebuildOptions options = Options();
  options.pace.checkpoint_bytes = archive_->durable_end() / 5;
  const auto stop = [](const RebuildProgress& progress) {
    return progress.phase == RebuildProgress::Phase::kReading &&
                   progress.done == progress.total
               ? absl::CancelledError("stop")
               : absl::OkStatus();
  };
  const std::string work = RebuildFolder(options.index_directory);
  const auto interrupt = [&] {
    options.recipient_keys = archive_->RecipientKeys();
    options.on_progress = stop;
    EXPECT_TRUE(absl::IsCancelled(RebuildIndex(options).status()));
    EXPECT_TRUE(fs::exists(work + "/checkpoint"));
    options.recipient_keys = archive_->RecipientKeys();
    options.on_progress = nullptr;
  };
  const Rows incremental = Incremental();
  // Half written, or bytes of something else.
  interrupt();
  fs::resize_file(work + "/checkpoint",
                  fs::file_size(work + "/checkpoint") / 2);
  ASSERT_TRUE(RebuildIndex(options).ok());
  ExpectSame(Rebuilt(), incremental);
  // A session with another byte.
  interrupt();
  {
    std::fstream file(work + "/met",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3);
    file.put('?');
  }
  ASSERT_TRUE(RebuildIndex(options).ok());
  ExpectSame(Rebuilt(), incremental);
  // A run that is not whole.
  interrupt();
  for (const auto& entry : fs::directory_iterator(work)) {
    const std::string name = entry.path().filename();
    if (name.rfind("run.", 0) == 0) {
      fs::resize_file(entry.path(), entry.file_size() - 1);
      break;
    }
  }
  ASSERT_TRUE(RebuildIndex(options).ok());
  ExpectSame(Rebuilt(), incremental);
  // A run with another byte: found only when it is read.
  interrupt();
  for (const auto& entry : fs::directory_iterator(work)) {
    const std::string name = entry.path().filename();
    if (name.rfind("run.", 0) == 0) {
      std::fstream file(entry.path(),
                        std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(20);
      file.put('?');
      break;
    }
  }
  EXPECT_TRUE(absl::IsDataLoss(RebuildIndex(options).status()));
  ASSERT_TRUE(RebuildIndex(options).ok());
  ExpectSame(Rebuilt(), incremental);
  // Another archive's log in its place.
  interrupt();
  fs::remove_all(folder_ + "/volumes");
  fs::remove_all(folder_ + "/keystore");
  archive_ = std::make_unique<SyntheticArchive>(folder_, 1 << 20);
  times_.clear();
  closed_.clear();
  MakeSessions(7);
  options = Options();
  ASSERT_TRUE(RebuildIndex(options).ok());
  ExpectSame(Rebuilt(), Incremental());
}

TEST_F(RebuildTest, TakesInWhatTheLogGotBetweenTwoAttempts) {
  MakeSessions(20);
  RebuildOptions options = Options();
  options.on_progress = [](const RebuildProgress& progress) {
    return progress.phase == RebuildProgress::Phase::kReading
               ? absl::OkStatus()
               : absl::CancelledError("stop");
  };
  options.pace.checkpoint_bytes = archive_->durable_end() / 5;
  // Small sorts are over before progress is told: stopped or not, it stands.
  RebuildIndex(options).status().IgnoreError();
  MakeSessions(20);
  options = Options();
  ASSERT_TRUE(RebuildIndex(options).ok());
  ExpectSame(Rebuilt(), Incremental());
}

TEST_F(RebuildTest, FollowingGoesOnFromIt) {
  MakeSessions(30);
  ASSERT_TRUE(RebuildIndex(Options()).ok());
  MakeSessions(30);
  ComeBack(closed_.front());
  {
    const std::unique_ptr<IndexStore> store =
        IndexStore::Open(folder_ + "/rebuilt", archive_->archive_id()).value();
    const auto builder = Builder(store.get());
    LogPump pump(&archive_->log(), builder.get(), 50);
    ASSERT_TRUE(pump.PumpUntil(archive_->durable_end(),
                               [](log::Position) { return absl::OkStatus(); })
                    .ok());
  }
  ExpectSame(Rebuilt(), Incremental());
}

}  // namespace
}  // namespace diptych::indexer
