// What one page may cost and weigh, and that the next one goes on from there.

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/query/catalog_fixture.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using PageBoundsTest = CatalogTest;

TEST_F(PageBoundsTest, AQueryThatCostsTooMuchEndsAndGoesOn) {
  std::vector<std::string> all;
  for (int i = 0; i < 40; ++i) {
    all.push_back(SimpleSession(kStart_us + i * kSecond_us, "0417", "accepted")
                      .ToString());
  }
  EXPECT_EQ(List("duration > 1s", 0, true), all);
  // Some rows' worth.
  MakeCatalog(10 * limits::kQueryCostOfRow);
  std::vector<std::string> found;
  std::string token;
  int stops = 0;
  do {
    const auto page = ListPage("duration > 1s", 100, token, true);
    ASSERT_TRUE(page.ok()) << page.status();
    if (!page->complete()) {
      ++stops;
      EXPECT_TRUE(absl::StrContains(page->incomplete_reason(),
                                    "the filter is too broad"));
      EXPECT_FALSE(page->next_page_token().empty());
    }
    for (const auto& session : page->sessions()) {
      found.push_back(session.session_id());
    }
    token = page->next_page_token();
  } while (!token.empty());
  EXPECT_GT(stops, 1);
  EXPECT_EQ(found, all);
  api::v1::CountSessionsRequest request;
  request.set_filter("duration > 1s");
  const auto count = catalog_->CountSessions(request, caller_).value();
  EXPECT_FALSE(count.complete());
  EXPECT_LT(count.sessions(), 40u);
  EXPECT_TRUE(absl::StrContains(count.incomplete_reason(), "narrow it"));
}

TEST_F(PageBoundsTest, APageThatCostsTooMuchAtOnceGetsOn) {
  // Two lists that never meet, and sessions that change after the first page.
  std::vector<base::Uuid> changed;
  std::set<std::string> expected;
  for (int i = 0; i < 4; ++i) {
    changed.push_back(archive_->Open(kStart_us + i * kSecond_us));
    archive_->Tag(changed.back(), "x", {"1"}, 0);
    archive_->Tag(changed.back(), "y", {"1"}, 0);
    expected.insert(changed.back().ToString());
  }
  for (int i = 0; i < 300; ++i) {
    const base::Uuid id = archive_->Open(kStart_us + (10 + i) * kSecond_us);
    archive_->Tag(id, i % 2 == 0 ? "x" : "y", {"1"}, 0);
  }
  const base::Uuid last = archive_->Open(kStart_us + 400 * kSecond_us);
  archive_->Tag(last, "x", {"1"}, 0);
  archive_->Tag(last, "y", {"1"}, 0);
  expected.insert(last.ToString());
  auto page = ListPage("x = 1 y = 1", 1, "", true);
  ASSERT_TRUE(page.ok()) << page.status();
  for (const base::Uuid& id : changed) archive_->Tag(id, "x", {"2"}, 0);
  MakeCatalog(1);
  std::set<std::string> found;
  int pages = 0;
  for (; ++pages < 1000;) {
    for (const auto& session : page->sessions()) {
      EXPECT_TRUE(found.insert(session.session_id()).second);
    }
    const std::string token = page->next_page_token();
    if (token.empty()) break;
    page = ListPage("x = 1 y = 1", 10, token, true);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_NE(page->next_page_token(), token);
  }
  EXPECT_LT(pages, 1000);
  EXPECT_GT(pages, 5);
  EXPECT_EQ(found, expected);
}

TEST_F(PageBoundsTest, APageThatEndsWithinASessionGoesOnThere) {
  std::vector<std::string> expected;
  for (int k = 0; k < 3; ++k) {
    const base::Uuid id = archive_->Open(kStart_us + k * kSecond_us);
    archive_->Tag(id, "x", {"1"}, 0);
    for (int i = 0; i < 5; ++i) {
      archive_->Segment(id, i * 10 * kSecond_us, (i + 1) * 10 * kSecond_us);
    }
  }
  expected = ListSegments("x = 1");
  ASSERT_EQ(expected.size(), 15u);
  MakeCatalog(1);
  std::vector<std::string> found;
  api::v1::ListSegmentsRequest request;
  request.set_filter("x = 1");
  request.set_page_size(2);
  do {
    const auto page = catalog_->ListSegments(request, caller_);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const auto& segment : page->segments()) {
      found.push_back(
          absl::StrCat(segment.session_id(), " ", segment.segment()));
    }
    ASSERT_LE(found.size(), expected.size());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(found, expected);
}

TEST_F(PageBoundsTest, APageEndsBeforeItHasTooManyBytes) {
  std::vector<std::string> all;
  for (int k = 0; k < 8; ++k) {
    const base::Uuid id = archive_->Open(kStart_us + k * kSecond_us);
    all.push_back(id.ToString());
    for (int part = 0; part < 5; ++part) {
      std::vector<std::string> values;
      for (int i = 0; i < 500; ++i) {
        values.push_back(
            absl::StrCat(k, "-", part, "-", i, "-", std::string(240, 'v')));
      }
      archive_->Tag(id, absl::StrCat("long", part), values, 0);
    }
    archive_->Segment(id, 0, 10 * kSecond_us);
  }
  follower_->SetDurableEnd(archive_->durable_end());
  ASSERT_TRUE(follower_->WaitUntil(archive_->durable_end(), absl::Seconds(30)));
  std::vector<std::string> found;
  api::v1::ListSegmentsRequest segments;
  std::string token;
  int pages = 0;
  do {
    const auto page = ListPage("", 100, token, true);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_TRUE(page->complete());
    EXPECT_LT(page->ByteSizeLong(), limits::kMaxPage_bytes + 4096);
    for (const auto& session : page->sessions()) {
      found.push_back(session.session_id());
    }
    token = page->next_page_token();
    ++pages;
  } while (!token.empty());
  EXPECT_EQ(found, all);
  EXPECT_GT(pages, 2);
  size_t listed = 0;
  do {
    const auto page = catalog_->ListSegments(segments, caller_);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LT(page->ByteSizeLong(), limits::kMaxPage_bytes + 4096);
    listed += static_cast<size_t>(page->segments_size());
    segments.set_page_token(page->next_page_token());
  } while (!segments.page_token().empty());
  EXPECT_EQ(listed, all.size());
  api::v1::SummarizeRequest summary;
  for (int part = 0; part < 5; ++part) {
    summary.add_keys(absl::StrCat("long", part));
  }
  summary.set_max_values(limits::kMaxGroups);
  const auto counts = catalog_->Summarize(summary, caller_);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_LT(counts->ByteSizeLong(), limits::kMaxPage_bytes + 4096);
  for (const auto& facet : counts->facets()) {
    EXPECT_GT(facet.more_values(), 0u);
    EXPECT_EQ(facet.more_values() + static_cast<uint64_t>(facet.groups_size()),
              4000u);
  }
}

TEST_F(PageBoundsTest, StatesAreLists) {
  std::vector<base::Uuid> ids;
  for (int i = 0; i < 200; ++i) {
    ids.push_back(archive_->Open(kStart_us + i * kSecond_us));
    if (i % 10 != 0) archive_->Close(ids.back());
  }
  archive_->Close(ids[10], stored::v1::CLOSE_REASON_ABANDONED);
  stored::v1::StateChanged changed;
  changed.set_state(stored::v1::SESSION_STATE_DEGRADED);
  archive_->StateChanged(ids[20], changed);
  archive_->StateChanged(ids[30], changed);
  changed.set_state(stored::v1::SESSION_STATE_RECOVERED);
  archive_->StateChanged(ids[30], changed);
  // Not worth the rows.
  MakeCatalog(60 * limits::kQueryCostOfRow);
  EXPECT_EQ(Count("state = open"), 19u);
  EXPECT_EQ(Count("state = closed"), 180u);
  EXPECT_EQ(Count("NOT state = open"), 181u);
  EXPECT_EQ(List("state = abandoned"),
            std::vector<std::string>{ids[10].ToString()});
  EXPECT_EQ(List("state = degraded"),
            std::vector<std::string>{ids[20].ToString()});
  EXPECT_EQ(List("state = recovered"),
            std::vector<std::string>{ids[30].ToString()});
  archive_->Resume(ids[10]);
  EXPECT_EQ(Count("state = open"), 20u);
  EXPECT_EQ(Count("state = abandoned"), 0u);
}

}  // namespace
}  // namespace diptych::indexer
