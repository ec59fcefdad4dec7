#ifndef INDEXER_BUILDER_BUILDER_FIXTURE_H_
#define INDEXER_BUILDER_BUILDER_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/posting_cursor.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

inline constexpr int64_t kStart_us = 1'790'000'000'000'000;

// For tests: an archive on disk and an index that is built from it.
class BuilderTest : public ::testing::Test {
 protected:
  BuilderTest()
      : folder_(absl::StrCat(
            ::testing::TempDir(), "/builder_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    archive_ = std::make_unique<SyntheticArchive>(folder_);
  }

  std::string IndexFolder() const { return absl::StrCat(folder_, "/index"); }

  absl::StatusOr<std::unique_ptr<IndexBuilder>> MakeBuilder() {
    IndexBuilder::Options options;
    options.archive_id = archive_->archive_id();
    options.store = store_.get();
    options.index_keys = &archive_->index_keys();
    options.log = &archive_->log();
    options.key_store = &archive_->key_store();
    options.recipient_keys = archive_->RecipientKeys();
    options.clock = clock_;
    return IndexBuilder::Create(std::move(options));
  }

  void OpenIndex() {
    store_ = IndexStore::Open(IndexFolder(), archive_->archive_id()).value();
    builder_ = MakeBuilder().value();
  }

  void CloseIndex() {
    builder_.reset();
    store_.reset();
  }

  // Takes everything that the log has, in batches of so many records.
  void CatchUp(size_t batch_records = 1000) {
    if (builder_ == nullptr) OpenIndex();
    LogPump pump(&archive_->log(), builder_.get(), batch_records);
    const auto end = pump.PumpUntil(archive_->durable_end(), [](log::Position) {
      return absl::OkStatus();
    });
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_EQ(*end, archive_->durable_end());
  }

  IndexView View() const {
    return IndexView(store_.get(), &archive_->index_keys());
  }

  // The session's runs that are in the list, in order.
  std::vector<uint32_t> RunsIn(const base::Uuid& session,
                               const PostingList& list) {
    const IndexView view = View();
    const SessionNumber number = view.FindNumber(session).value().value();
    const auto cursor = NewPostingCursor(&view.snapshot(), list,
                                         Order::kOldestFirst, number, number);
    std::vector<uint32_t> runs;
    EXPECT_TRUE(cursor->status().ok()) << cursor->status();
    if (!cursor->Valid()) return runs;
    for (const RunSet::Range& range : cursor->runs().ranges()) {
      for (uint32_t run = range.first; run <= range.last; ++run) {
        runs.push_back(run);
      }
    }
    return runs;
  }

  // Those that are posted under key=value; key alone with an empty value; both
  // empty: all runs.
  std::vector<uint32_t> Runs(const base::Uuid& session, const std::string& key,
                             const std::string& value) {
    const seal::IndexKeys& keys = archive_->index_keys();
    if (key.empty()) return RunsIn(session, UniversalList(keys));
    return RunsIn(session, value.empty() ? KeyList(keys, key)
                                         : ValueList(keys, key, value));
  }

  std::optional<stored::v1::RunRow> Run(const base::Uuid& session,
                                        uint32_t run) {
    const IndexView view = View();
    return view.Run(view.FindNumber(session).value().value(), run).value();
  }

  // Everything that the index says, sealed rows opened, to compare two of them.
  std::multiset<std::string> Content() {
    std::multiset<std::string> content;
    const auto snapshot = store_->NewSnapshot();
    for (const Family family :
         {Family::kIds, Family::kSessions, Family::kSegments, Family::kChunks,
          Family::kRuns, Family::kDetails, Family::kPostings,
          Family::kDictionary}) {
      const bool sealed = family == Family::kSessions ||
                          family == Family::kDetails ||
                          family == Family::kDictionary;
      const auto rows = snapshot->NewIterator(family, "", "");
      for (rows->Seek(""); rows->Valid(); rows->Next()) {
        std::string value(rows->value());
        // A block that lost all its sessions, until it is compacted away.
        const std::string empty_block("\1\0", 2);
        if (family == Family::kPostings && value == empty_block) continue;
        if (sealed) {
          value = archive_->index_keys()
                      .OpenRow(RowContext(family, rows->key()), value)
                      .value();
        }
        content.insert(absl::StrCat(static_cast<int>(family), "|", rows->key(),
                                    "|", value));
      }
    }
    return content;
  }

  // A session of everything: three segments, a hand-over, a late rating.
  base::Uuid BusySession() {
    const base::Uuid id = archive_->Open(kStart_us);
    archive_->Notes(id, stored::v1::SIDE_RESIDENT,
                    {TagNote("resident", {"310106195202030021"}, 0)});
    archive_->Notes(id, stored::v1::SIDE_CLERK,
                    {TagNote("item", {"0417"}, 0), TagNote("clerk", {"C1"}, 0),
                     EventNote("card_read", 5 * kSecond_us)});
    archive_->Segment(id, 0, 10 * kSecond_us);
    archive_->Tag(id, "clerk", {"C2"}, 12 * kSecond_us);
    archive_->Segment(id, 10 * kSecond_us, 20 * kSecond_us);
    archive_->Segment(id, 20 * kSecond_us, 30 * kSecond_us);
    archive_->Tag(id, "rating", {"1"}, 29 * kSecond_us);
    archive_->Close(id);
    return id;
  }

  const std::string folder_;
  std::unique_ptr<SyntheticArchive> archive_;
  std::unique_ptr<IndexStore> store_;
  std::unique_ptr<IndexBuilder> builder_;
  base::Clock* clock_ = base::Clock::Real();
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_BUILDER_FIXTURE_H_
