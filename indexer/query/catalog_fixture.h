#ifndef INDEXER_QUERY_CATALOG_FIXTURE_H_
#define INDEXER_QUERY_CATALOG_FIXTURE_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"
#include "indexer/access/access_recorder.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/query/catalog.h"
#include "indexer/store/index_store.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

inline constexpr int64_t kStart_us = 1'790'000'000'000'000;

// Writes access records down as the archiver would: at the log's end.
class FakeRecorder final : public AccessRecorder {
 public:
  explicit FakeRecorder(SyntheticArchive* archive) : archive_(archive) {}

  absl::StatusOr<log::Position> Record(
      const stored::v1::AccessRecord& record) override {
    if (!error.ok()) return error;
    records.push_back(record);
    stored::v1::Access header;
    header.set_record_time_us(record.time_us());
    return archive_->Append(log::RecordType::kAccess,
                            header.SerializeAsString(), "sealed");
  }

  absl::Status error;
  std::vector<stored::v1::AccessRecord> records;

 private:
  SyntheticArchive* const archive_;
};

// A catalog over a synthetic archive, with a real index that follows it.
class CatalogTest : public ::testing::Test {
 protected:
  CatalogTest()
      : folder_(absl::StrCat(
            ::testing::TempDir(), "/catalog_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    archive_ = std::make_unique<SyntheticArchive>(folder_);
    recorder_ = std::make_unique<FakeRecorder>(archive_.get());
    store_ = IndexStore::Open(absl::StrCat(folder_, "/index"),
                              archive_->archive_id())
                 .value();
    IndexBuilder::Options options;
    options.archive_id = archive_->archive_id();
    options.store = store_.get();
    options.index_keys = &archive_->index_keys();
    options.log = &archive_->log();
    options.key_store = &archive_->key_store();
    options.recipient_keys = archive_->RecipientKeys();
    builder_ = IndexBuilder::Create(std::move(options)).value();
    follower_ = std::make_unique<LogFollower>(&archive_->log(), builder_.get());
    follower_->SetDurableEnd(0);
    MakeCatalog(limits::kMaxQueryCost);
    caller_.principal = "diptych://archive/auditor/anna";
  }

  void MakeCatalog(uint64_t max_query_cost) {
    Catalog::Options catalog;
    catalog.store = store_.get();
    catalog.keys = &archive_->index_keys();
    catalog.follower = follower_.get();
    catalog.access = recorder_.get();
    catalog.clock = &clock_;
    catalog.max_query_cost = max_query_cost;
    catalog_ = std::make_unique<Catalog>(catalog);
  }

  absl::StatusOr<api::v1::ListSessionsResponse> ListPage(
      const std::string& filter, uint32_t page_size = 0,
      const std::string& token = "", bool oldest_first = false) {
    api::v1::ListSessionsRequest request;
    request.set_filter(filter);
    request.set_page_size(page_size);
    request.set_page_token(token);
    request.set_oldest_first(oldest_first);
    return catalog_->ListSessions(request, caller_);
  }

  // All pages' sessions.
  std::vector<std::string> List(const std::string& filter,
                                uint32_t page_size = 0,
                                bool oldest_first = false) {
    std::vector<std::string> ids;
    std::string token;
    do {
      const auto page = ListPage(filter, page_size, token, oldest_first);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) return ids;
      EXPECT_TRUE(page->complete()) << page->incomplete_reason();
      for (const auto& session : page->sessions()) {
        ids.push_back(session.session_id());
      }
      token = page->next_page_token();
    } while (!token.empty());
    return ids;
  }

  // All pages' segments as "session number".
  std::vector<std::string> ListSegments(const std::string& filter,
                                        uint32_t page_size = 0,
                                        bool oldest_first = false) {
    std::vector<std::string> found;
    api::v1::ListSegmentsRequest request;
    request.set_filter(filter);
    request.set_page_size(page_size);
    request.set_oldest_first(oldest_first);
    do {
      const auto page = catalog_->ListSegments(request, caller_);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) return found;
      EXPECT_TRUE(page->complete()) << page->incomplete_reason();
      for (const auto& segment : page->segments()) {
        found.push_back(
            absl::StrCat(segment.session_id(), " ", segment.segment()));
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return found;
  }

  uint64_t Count(const std::string& filter) {
    api::v1::CountSessionsRequest request;
    request.set_filter(filter);
    const auto response = catalog_->CountSessions(request, caller_);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->sessions() : 0;
  }

  base::Uuid SimpleSession(int64_t start_us, const std::string& item,
                           const std::string& outcome) {
    const base::Uuid id = archive_->Open(start_us);
    archive_->Tag(id, "item", {item}, 0);
    archive_->Segment(id, 0, 10 * kSecond_us);
    archive_->Tag(id, "outcome", {outcome}, 9 * kSecond_us);
    archive_->Close(id);
    return id;
  }

  const std::string folder_;
  std::unique_ptr<SyntheticArchive> archive_;
  std::unique_ptr<FakeRecorder> recorder_;
  std::unique_ptr<IndexStore> store_;
  std::unique_ptr<IndexBuilder> builder_;
  std::unique_ptr<LogFollower> follower_;
  base::FakeClock clock_;
  std::unique_ptr<Catalog> catalog_;
  Caller caller_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_CATALOG_FIXTURE_H_
