// Pages while the archive grows and changes: all of an answer is of the moment
// of its first page.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/query/catalog_fixture.h"
#include "indexer/query/page_token.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

class PagesTest : public CatalogTest {
 protected:
  struct Known {
    base::Uuid id;
    int64_t end_us = 0;
    bool closed = false;
  };

  uint32_t Pick(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  void Begin() {
    Known known;
    known.id = archive_->Open(kStart_us + Pick(30) * 7 * kSecond_us);
    sessions_.push_back(known);
    for (uint32_t i = 0; i < 1 + Pick(3); ++i) Change(&sessions_.back());
  }

  void Change(Known* session) {
    const base::Uuid& id = session->id;
    const int64_t at_us = Pick(60) * kSecond_us;
    const uint32_t kind = Pick(10);
    if (session->closed && kind < 6) {
      // One that comes back.
      archive_->Resume(id);
      session->closed = false;
    }
    if (kind < 3) {
      archive_->Segment(id, session->end_us, session->end_us + 10 * kSecond_us);
      session->end_us += 10 * kSecond_us;
    } else if (kind == 3) {
      // Media that comes long after its time.
      archive_->Segment(id, at_us, at_us + 5 * kSecond_us);
    } else if (kind == 4) {
      archive_->Close(id, Pick(2) == 0 ? stored::v1::CLOSE_REASON_CLOSED
                                       : stored::v1::CLOSE_REASON_ABANDONED);
      session->closed = true;
    } else if (kind == 5) {
      stored::v1::StateChanged changed;
      changed.set_state(Pick(2) == 0 ? stored::v1::SESSION_STATE_DEGRADED
                                     : stored::v1::SESSION_STATE_RECOVERED);
      changed.set_at_us(at_us);
      archive_->StateChanged(id, changed);
    } else if (kind == 6) {
      archive_->Event(id, absl::StrCat("e", Pick(3)), at_us);
    } else {
      const char* const keys[] = {"item", "clerk", "rating"};
      // Added, set or removed, early or late.
      archive_->Tag(id, keys[Pick(3)], {absl::StrCat(Pick(3))}, at_us,
                    1 + Pick(3));
    }
  }

  void Stir(int changes) {
    for (int i = 0; i < changes; ++i) {
      if (sessions_.empty() || Pick(4) == 0) {
        Begin();
      } else {
        Change(&sessions_[Pick(static_cast<uint32_t>(sessions_.size()))]);
      }
    }
  }

  std::string RandomFilter() {
    const std::vector<std::string> filters = {
        "",
        "item = 0",
        "NOT item = 1",
        "item IN (0, 2) clerk = 1",
        "rating >= 1",
        "rating < 2 OR event:e1",
        "state = open",
        "NOT state = closed",
        "state = degraded OR item = 2",
        "duration > 15s",
        "end_time < 2026-09-21T14:15:30Z",
        "start_time >= 2026-09-21T14:14:00Z item:*",
        "clerk:* NOT event:session_degraded",
        "(item = 0 clerk = 0) OR (item = 1 clerk = 1)",
        absl::StrCat("session = ",
                     sessions_[Pick(static_cast<uint32_t>(sessions_.size()))]
                         .id.ToString()),
    };
    return filters[Pick(static_cast<uint32_t>(filters.size()))];
  }

  static std::string Line(api::v1::Session session) {
    // Of now, as the catalog says.
    session.clear_payload_bytes();
    return session.SerializeAsString();
  }
  static std::string Line(const api::v1::Segment& segment) {
    return segment.SerializeAsString();
  }

  auto Ask(const api::v1::ListSessionsRequest& request) {
    return catalog_->ListSessions(request, caller_);
  }
  auto Ask(const api::v1::ListSegmentsRequest& request) {
    return catalog_->ListSegments(request, caller_);
  }
  static const auto& Rows(const api::v1::ListSessionsResponse& response) {
    return response.sessions();
  }
  static const auto& Rows(const api::v1::ListSegmentsResponse& response) {
    return response.segments();
  }

  template <typename Response>
  static std::vector<std::string> Lines(const Response& response) {
    std::vector<std::string> lines;
    for (const auto& row : Rows(response)) lines.push_back(Line(row));
    return lines;
  }

  // The answer in one piece, then in pages between which all kinds of things
  // happen.
  template <typename Request>
  void Check() {
    Request request;
    request.set_filter(RandomFilter());
    request.set_oldest_first(Pick(2) == 0);
    SCOPED_TRACE(request.filter());
    std::vector<std::string> expected;
    request.set_page_size(limits::kMaxPageSize);
    do {
      const auto page = Ask(request);
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_TRUE(page->complete());
      const std::vector<std::string> lines = Lines(*page);
      expected.insert(expected.end(), lines.begin(), lines.end());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    std::vector<std::string> found;
    const auto pages = 1 + Pick(6);
    request.set_page_size(1 + static_cast<uint32_t>(expected.size()) / pages);
    do {
      const auto page = Ask(request);
      ASSERT_TRUE(page.ok()) << page.status();
      const std::vector<std::string> lines = Lines(*page);
      ASSERT_EQ(lines.size(),
                std::min<size_t>(request.page_size(), lines.size()));
      found.insert(found.end(), lines.begin(), lines.end());
      const std::string token = page->next_page_token();
      if (!request.page_token().empty()) {
        Stir(static_cast<int>(Pick(2)));
        const auto again = Ask(request);
        ASSERT_TRUE(again.ok()) << again.status();
        ASSERT_EQ(Lines(*again), lines);
      }
      Stir(static_cast<int>(Pick(4)));
      request.set_page_token(token);
    } while (!request.page_token().empty());
    ASSERT_EQ(found, expected);
    found_ += found.size();
  }

  std::mt19937 random_{417};
  std::vector<Known> sessions_;
  size_t found_ = 0;
};

TEST_F(PagesTest, AllPagesAreOfTheFirstOnesMoment) {
  Stir(40);
  for (int round = 0; round < 100; ++round) {
    Check<api::v1::ListSessionsRequest>();
    Check<api::v1::ListSegmentsRequest>();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(found_, 500u);
}

TEST_F(PagesTest, APageExpires) {
  for (int i = 0; i < 3; ++i) SimpleSession(kStart_us + i, "0417", "accepted");
  const std::string token = ListPage("item:*", 1)->next_page_token();
  clock_.Advance(limits::kPageLifetime - absl::Minutes(1));
  const auto second = ListPage("item:*", 1, token);
  ASSERT_TRUE(second.ok());
  clock_.Advance(absl::Minutes(2));
  // What counts is when the first page was asked for.
  for (const std::string& old : {token, second->next_page_token()}) {
    const absl::Status status = ListPage("item:*", 1, old).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    ASSERT_TRUE(base::GetErrorDetail(status).has_value());
    EXPECT_EQ(base::GetErrorDetail(status)->reason(), "PAGE_EXPIRED");
  }
}

TEST_F(PagesTest, ATokenDoesNotSayHowFarTheLogGoes) {
  for (int i = 0; i < 3; ++i) SimpleSession(kStart_us + i, "0417", "accepted");
  const std::string token = ListPage("item:*", 1)->next_page_token();
  const std::string context = PageContext("ListSessions", Order::kNewestFirst,
                                          caller_.principal, "item:*");
  PagePlace place =
      OpenPage(archive_->index_keys(), context, token, clock_.Now()).value();
  place.position = archive_->durable_end() + 1'000'000;
  const absl::Status status =
      ListPage("item:*", 1, SealPage(archive_->index_keys(), context, place))
          .status();
  ASSERT_TRUE(base::GetErrorDetail(status).has_value()) << status;
  EXPECT_EQ(base::GetErrorDetail(status)->reason(), "PAGE_EXPIRED");
  EXPECT_LE(follower_->status().durable_end, archive_->durable_end());
}

TEST_F(PagesTest, AForgottenStateCountsOnlyWhereItIsAskedFor) {
  const base::Uuid other = archive_->Open(kStart_us);
  archive_->Tag(other, "item", {"1"}, 0);
  SimpleSession(kStart_us + kSecond_us, "2", "accepted");
  const base::Uuid flapping = archive_->Open(kStart_us + 2 * kSecond_us);
  archive_->Tag(flapping, "item", {"3"}, 0);
  const auto tokens = [&](const std::string& filter) {
    return ListPage(filter, 1, "", true)->next_page_token();
  };
  const std::string by_tag = tokens("item IN (1, 2)");
  const std::string by_state = tokens("state = open OR item = 2");
  const std::string shown = tokens("item:*");
  for (int i = 0; i < limits::kMaxPastStates + 5; ++i) {
    stored::v1::StateChanged changed;
    changed.set_state(i % 2 == 0 ? stored::v1::SESSION_STATE_DEGRADED
                                 : stored::v1::SESSION_STATE_RECOVERED);
    archive_->StateChanged(flapping, changed);
  }
  const auto page = ListPage("item IN (1, 2)", 10, by_tag, true);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->sessions_size(), 1);
  EXPECT_FALSE(ListPage("state = open OR item = 2", 10, by_state, true).ok());
  EXPECT_FALSE(ListPage("item:*", 10, shown, true).ok());
}

TEST_F(PagesTest, HintsOfALongSessionAreFoundAndStay) {
  const base::Uuid id = archive_->Open(kStart_us);
  for (int i = 0; i < 40; ++i) {
    for (int k = 0; k < 10; ++k) {
      const int64_t from_us = (i * 10 + k) * kSecond_us;
      archive_->Chunk(id, from_us, from_us + kSecond_us);
    }
    archive_->Manifest(id);
  }
  api::v1::ListSegmentsRequest request;
  request.set_page_size(1);
  for (int i = 39; i >= 0; --i) {
    const auto page = catalog_->ListSegments(request, caller_);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_EQ(page->segments_size(), 1);
    const auto& segment = page->segments(0);
    const auto own =
        IndexView(store_.get(), &archive_->index_keys()).Chunks(id).value();
    int expected = 0;
    for (const auto& chunk : own) {
      if (chunk.segment() == segment.segment()) {
        expected += chunk.key_frames_size();
      }
    }
    EXPECT_EQ(segment.key_frames_size(), expected) << i;
    // More of the same time, which the page's moment did not have.
    if (i % 10 == 0) archive_->Chunk(id, 0, kSecond_us);
    request.set_page_token(page->next_page_token());
  }
}

TEST_F(PagesTest, SessionsSayWhereTheFilterHolds) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "item", {"a"}, 0);
  archive_->Tag(id, "item", {"b"}, 20 * kSecond_us);
  archive_->Tag(id, "item", {"a"}, 40 * kSecond_us);
  for (int i = 0; i < 6; ++i) {
    archive_->Segment(id, i * 10 * kSecond_us, (i + 1) * 10 * kSecond_us);
  }
  const auto ranges = [&](const std::string& filter) {
    std::string text;
    const auto page = ListPage(filter).value();
    for (const auto& range : page.sessions(0).matched()) {
      absl::StrAppend(&text, range.start_us() / kSecond_us, "-",
                      range.end_us() / kSecond_us, " ");
    }
    return text;
  };
  EXPECT_EQ(ranges("item = a"), "0-20 40-60 ");
  EXPECT_EQ(ranges("item = b"), "20-40 ");
  EXPECT_EQ(ranges("item IN (a, b)"), "0-60 ");
  // Newer than what is sealed: found at once, at the end.
  archive_->Tag(id, "item", {"c"}, 65 * kSecond_us);
  EXPECT_EQ(ranges("item = c"), "60-60 ");
  archive_->Open(kStart_us + kSecond_us);
  EXPECT_EQ(ranges("NOT item:*"), "");
}

TEST_F(PagesTest, ClerksAndItemsBeyondTheirPairsAreFound) {
  const base::Uuid id = archive_->Open(kStart_us);
  std::vector<stored::v1::Note> notes;
  for (int i = 0; i < 20; ++i) {
    notes.push_back(TagNote("clerk", {absl::StrCat(i)}, 0, 1));
    notes.push_back(TagNote("item", {absl::StrCat(i)}, 0, 1));
  }
  archive_->Notes(id, stored::v1::SIDE_CLERK, notes);
  archive_->Segment(id, 0, 10 * kSecond_us);
  SimpleSession(kStart_us + kSecond_us, "5", "accepted");
  EXPECT_EQ(Count("clerk = 7 item = 19"), 1u);
  EXPECT_EQ(Count("clerk = 7 item = 20"), 0u);
  EXPECT_EQ(Count("clerk = 7 item = 19 clerk = 3 NOT item = 21"), 1u);
}

}  // namespace
}  // namespace diptych::indexer
