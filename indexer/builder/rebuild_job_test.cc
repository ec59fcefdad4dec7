#include "indexer/builder/rebuild_job.h"

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/builder_fixture.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/rebuild.h"
#include "indexer/store/index_store.h"

namespace diptych::indexer {
namespace {

class RebuildJobTest : public BuilderTest {
 protected:
  RebuildJobTest() : recipients_(archive_->RecipientKeys()) {
    database_ =
        IndexStore::Open(folder_ + "/live", archive_->archive_id()).value();
    std::unique_ptr<IndexBuilder> builder = NewBuilder();
    follower_ = std::make_unique<LogFollower>(&archive_->log(), builder.get());
    RebuildJob::Options options;
    options.source.archive_id = archive_->archive_id();
    options.source.index_keys = &archive_->index_keys();
    options.source.log = &archive_->log();
    options.source.key_store = &archive_->key_store();
    options.source.recipient_keys = &recipients_;
    options.source.work_folder = RebuildFolder(folder_ + "/live/");
    options.store = database_.get();
    options.follower = follower_.get();
    options.builder = std::move(builder);
    job_ = std::make_unique<RebuildJob>(std::move(options));
  }

  std::unique_ptr<IndexBuilder> NewBuilder() {
    IndexBuilder::Options options;
    options.archive_id = archive_->archive_id();
    options.store = database_.get();
    options.index_keys = &archive_->index_keys();
    options.log = &archive_->log();
    options.key_store = &archive_->key_store();
    options.recipient_keys = archive_->RecipientKeys();
    return IndexBuilder::Create(std::move(options)).value();
  }

  void AddSessions(int count) {
    for (int i = 0; i < count; ++i) {
      const base::Uuid id = archive_->Open(kStart_us + sessions_ * kSecond_us);
      archive_->Tag(id, "clerk", {absl::StrCat("C", sessions_ % 3)}, 0);
      archive_->Segment(id, 0, 10 * kSecond_us);
      archive_->Close(id);
      ++sessions_;
    }
    follower_->SetDurableEnd(archive_->durable_end());
  }

  const std::vector<seal::KeyPair> recipients_;
  std::unique_ptr<IndexDatabase> database_;
  std::unique_ptr<LogFollower> follower_;
  std::unique_ptr<RebuildJob> job_;
  int sessions_ = 0;
};

TEST_F(RebuildJobTest, TakesTheOldOnesPlaceWhileTheLogGrows) {
  AddSessions(200);
  for (int i = 0; i < 3; ++i) {
    const RebuildJob::News begun = job_->Start();
    while (job_->news().ended == begun.ended) AddSessions(2);
    ASSERT_TRUE(job_->news().result.ok()) << job_->news().result.status();
  }
  ASSERT_TRUE(follower_->WaitUntil(archive_->durable_end(), absl::Seconds(60)));
  EXPECT_EQ(follower_->status().state.sessions(),
            static_cast<uint64_t>(sessions_));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/live.rebuild"));
}

// It ends in the middle of catching up, where the follower is at work.
TEST_F(RebuildJobTest, EndsWhileItCatchesUp) {
  AddSessions(200);
  std::atomic<bool> enough = false;
  std::thread traffic([&] {
    while (!enough) AddSessions(5);
  });
  RebuildJob::News news = job_->Start();
  while (news.ended == 0 &&
         news.progress.phase != RebuildProgress::Phase::kCatchingUp) {
    news = job_->WaitForOther(news, absl::Seconds(60));
  }
  job_.reset();
  enough = true;
  traffic.join();
  follower_.reset();
  // Whichever is current goes on from where it stands.
  const std::unique_ptr<IndexBuilder> builder = NewBuilder();
  LogPump pump(&archive_->log(), builder.get(), 100);
  ASSERT_TRUE(pump.PumpUntil(archive_->durable_end(),
                             [](log::Position) { return absl::OkStatus(); })
                  .ok());
  EXPECT_EQ(builder->state().sessions(), static_cast<uint64_t>(sessions_));
}

}  // namespace
}  // namespace diptych::indexer
