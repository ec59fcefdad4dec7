#include "indexer/query/catalog.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/query/catalog_fixture.h"
#include "indexer/query/catalog_service.h"
#include "proto/api/v1/catalog.grpc.pb.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

TEST_F(CatalogTest, PagesRepeatWhileTheArchiveGrows) {
  for (int i = 0; i < 6; ++i) {
    SimpleSession(kStart_us + i * kSecond_us, "0417", "accepted");
  }
  const base::Uuid open = archive_->Open(kStart_us - kSecond_us);
  archive_->Tag(open, "item", {"0417"}, 0);
  archive_->Segment(open, 0, 10 * kSecond_us);
  const std::vector<std::string> all = List("item = 0417");
  ASSERT_EQ(all.size(), 7u);
  const auto first = ListPage("item = 0417", 3).value();
  api::v1::ListSegmentsRequest segments;
  segments.set_filter("item = 0417");
  segments.set_page_size(3);
  const auto first_segments = catalog_->ListSegments(segments, caller_).value();
  // In the middle and at the end of what is still to come.
  SimpleSession(kStart_us + 5 * kSecond_us / 2, "0417", "accepted");
  SimpleSession(kStart_us - 2 * kSecond_us, "0417", "accepted");
  archive_->Segment(open, 10 * kSecond_us, 20 * kSecond_us);
  std::vector<std::string> rest;
  std::string token = first.next_page_token();
  while (!token.empty()) {
    const auto page = ListPage("item = 0417", 3, token).value();
    // The same token gives the same page.
    EXPECT_EQ(ListPage("item = 0417", 3, token)->sessions_size(),
              page.sessions_size());
    for (const auto& session : page.sessions()) {
      rest.push_back(session.session_id());
    }
    token = page.next_page_token();
  }
  EXPECT_EQ(rest, std::vector<std::string>(all.begin() + 3, all.end()));
  segments.set_page_token(first_segments.next_page_token());
  segments.set_page_size(100);
  EXPECT_EQ(catalog_->ListSegments(segments, caller_)->segments_size(), 4);
  EXPECT_EQ(List("item = 0417").size(), 9u);
}

TEST_F(CatalogTest, APageTokenGoesOnWithItsOwnQuestionOnly) {
  for (int i = 0; i < 3; ++i) SimpleSession(kStart_us + i, "0417", "accepted");
  const std::string token = ListPage("item:*", 1)->next_page_token();
  ASSERT_FALSE(token.empty());
  EXPECT_TRUE(ListPage("item:*", 2, token).ok());
  const auto refused = [&](const absl::Status& status) {
    const auto detail = base::GetErrorDetail(status);
    return absl::IsInvalidArgument(status) && detail.has_value() &&
           detail->reason() == "BAD_PAGE_TOKEN";
  };
  EXPECT_TRUE(refused(ListPage("clerk:*", 1, token).status()));
  EXPECT_TRUE(refused(ListPage("item:*", 1, token, true).status()));
  api::v1::ListSegmentsRequest segments;
  segments.set_filter("item:*");
  segments.set_page_token(token);
  EXPECT_TRUE(refused(catalog_->ListSegments(segments, caller_).status()));
  std::string changed = token;
  changed[10] = changed[10] == 'A' ? 'B' : 'A';
  EXPECT_TRUE(refused(ListPage("item:*", 1, changed).status()));
  EXPECT_TRUE(refused(ListPage("item:*", 1, "not a token").status()));
  EXPECT_TRUE(
      refused(ListPage("item:*", 1, std::string(10'000, 'A')).status()));
  caller_.principal = "diptych://archive/auditor/bert";
  EXPECT_TRUE(refused(ListPage("item:*", 1, token).status()));
}

TEST_F(CatalogTest, NothingIsAnsweredWithoutAnAccessRecord) {
  const base::Uuid id = SimpleSession(kStart_us, "0417", "accepted");
  ASSERT_EQ(List("item = 0417").size(), 1u);
  ASSERT_EQ(recorder_->records.size(), 1u);
  EXPECT_EQ(recorder_->records[0].action(), "Catalog.ListSessions");
  EXPECT_EQ(recorder_->records[0].filter(), "item = 0417");
  EXPECT_EQ(recorder_->records[0].principal(), caller_.principal);
  EXPECT_GT(recorder_->records[0].time_us(), 0);
  recorder_->error = absl::UnavailableError("no archiver");
  EXPECT_TRUE(absl::IsUnavailable(ListPage("").status()));
  EXPECT_TRUE(
      absl::IsUnavailable(catalog_->ListSegments({}, caller_).status()));
  EXPECT_TRUE(
      absl::IsUnavailable(catalog_->CountSessions({}, caller_).status()));
  api::v1::GetSessionRequest get;
  get.set_session_id(id.ToString());
  EXPECT_TRUE(absl::IsUnavailable(catalog_->GetSession(get, caller_).status()));
  recorder_->error = absl::OkStatus();
  EXPECT_TRUE(catalog_->GetSession(get, caller_).ok());
  EXPECT_EQ(recorder_->records.back().session_id(), id.bytes());
}

TEST_F(CatalogTest, AnAnswerThatMayLackSomethingSaysSo) {
  SimpleSession(kStart_us, "0417", "accepted");
  EXPECT_TRUE(ListPage("")->complete());
  // Behind: the writer says that there is more than can be read here.
  follower_->SetDurableEnd(archive_->durable_end() + 1'000'000);
  const auto behind = ListPage("").value();
  EXPECT_FALSE(behind.complete());
  EXPECT_FALSE(behind.incomplete_reason().empty());
  EXPECT_EQ(behind.sessions_size(), 1);
  const auto status = catalog_->GetIndexStatus();
  EXPECT_GT(status.log_position(), status.indexed_position());
}

TEST_F(CatalogTest, WhatWasNotOpenedMakesAnswersIncomplete) {
  const base::Uuid id = SimpleSession(kStart_us, "0417", "accepted");
  const base::Uuid other = archive_->Open(kStart_us);
  archive_->UnopenableNotes(other, stored::v1::SIDE_CLERK);
  const auto page = ListPage("item = 0417").value();
  EXPECT_FALSE(page.complete());
  EXPECT_TRUE(absl::StrContains(page.incomplete_reason(), "1 records"));
  ASSERT_EQ(page.sessions_size(), 1);
  EXPECT_EQ(page.sessions(0).session_id(), id.ToString());
}

TEST_F(CatalogTest, ReadsWhatWasDurableBeforeTheQuestion) {
  // Nobody tells the follower of the log's end but the access record itself.
  for (int i = 0; i < 20; ++i) {
    SimpleSession(kStart_us + i, "0417", "accepted");
    EXPECT_EQ(List("item = 0417").size(), static_cast<size_t>(i + 1));
  }
}

TEST_F(CatalogTest, CountsByTheValuesOfATag) {
  SimpleSession(kStart_us, "0417", "accepted");
  SimpleSession(kStart_us + 1, "0417", "rejected");
  const base::Uuid both = archive_->Open(kStart_us + 2);
  archive_->Tag(both, "item", {"0417"}, 0);
  archive_->Tag(both, "item", {"0500"}, 5 * kSecond_us);
  archive_->Segment(both, 0, 10 * kSecond_us);
  api::v1::CountSessionsRequest request;
  request.set_group_by("item");
  const auto counts = catalog_->CountSessions(request, caller_).value();
  EXPECT_EQ(counts.sessions(), 3u);
  ASSERT_EQ(counts.groups_size(), 2);
  EXPECT_EQ(counts.groups(0).value(), "0417");
  EXPECT_EQ(counts.groups(0).sessions(), 3u);
  EXPECT_EQ(counts.groups(1).value(), "0500");
  EXPECT_EQ(counts.groups(1).sessions(), 1u);
  EXPECT_TRUE(counts.complete());
  EXPECT_EQ(recorder_->records.back().action(),
            "Catalog.CountSessions by item");
  request.set_group_by("No Key");
  EXPECT_TRUE(absl::IsInvalidArgument(
      catalog_->CountSessions(request, caller_).status()));
}

TEST_F(CatalogTest, SummarizesSeveralKeysAtOnce) {
  for (int i = 0; i < 30; ++i) {
    SimpleSession(kStart_us + i * kSecond_us, absl::StrCat("item", i % 3),
                  i % 2 == 0 ? "accepted" : "rejected");
  }
  archive_->Open(kStart_us);
  api::v1::SummarizeRequest request;
  request.add_keys("item");
  request.add_keys("outcome");
  request.set_max_values(2);
  const auto summary = catalog_->Summarize(request, caller_).value();
  EXPECT_EQ(recorder_->records.back().action(),
            "Catalog.Summarize by item,outcome");
  EXPECT_TRUE(summary.complete()) << summary.incomplete_reason();
  EXPECT_EQ(summary.sessions(), 31u);
  ASSERT_EQ(summary.facets_size(), 2);
  EXPECT_EQ(summary.facets(0).key(), "item");
  ASSERT_EQ(summary.facets(0).groups_size(), 2);
  EXPECT_EQ(summary.facets(0).groups(0).value(), "item0");
  EXPECT_EQ(summary.facets(0).groups(0).sessions(), 10u);
  EXPECT_EQ(summary.facets(0).more_values(), 1u);
  EXPECT_EQ(summary.facets(0).without(), 1u);
  EXPECT_EQ(summary.facets(1).groups(1).sessions(), 15u);
  EXPECT_EQ(summary.facets(1).more_values(), 0u);
  request.add_keys("No Key");
  EXPECT_TRUE(
      absl::IsInvalidArgument(catalog_->Summarize(request, caller_).status()));
  request.clear_keys();
  EXPECT_TRUE(
      absl::IsInvalidArgument(catalog_->Summarize(request, caller_).status()));
  for (int i = 0; i <= limits::kMaxSummaryKeys; ++i) request.add_keys("a");
  EXPECT_TRUE(
      absl::IsInvalidArgument(catalog_->Summarize(request, caller_).status()));
}

TEST_F(CatalogTest, SegmentsSayWherePlayingBegins) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Segment(id, 0, 10 * kSecond_us);
  archive_->Chunk(id, 10 * kSecond_us, 20 * kSecond_us);
  archive_->Manifest(id, {7});
  const auto response = catalog_->ListSegments({}, caller_).value();
  ASSERT_EQ(response.segments_size(), 2);
  // No key frame lies before: its own start.
  EXPECT_EQ(response.segments(0).play_from_us(), 10 * kSecond_us);
  EXPECT_EQ(response.segments(0).chunks(), 1u);
  ASSERT_EQ(response.segments(0).tracks_without_key_frame_size(), 1);
}

TEST_F(CatalogTest, ComparisonsRefuseTooManyValues) {
  const base::Uuid id = archive_->Open(kStart_us);
  std::vector<stored::v1::Note> notes;
  for (size_t i = 0; i <= limits::kMaxDictionaryValues; ++i) {
    notes.push_back(TagNote("ticket", {absl::StrCat(i)}, 0, 1));
  }
  archive_->Notes(id, stored::v1::SIDE_CLERK, notes);
  const absl::Status status = ListPage("clerk:* OR ticket < 5").status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  const auto detail = base::GetErrorDetail(status);
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->field_offset(), 11u);
  EXPECT_EQ(List("ticket = 1000").size(), 1u);
}

TEST_F(CatalogTest, ShowsAllOfASession) {
  const base::Uuid id = archive_->Open(kStart_us);
  stored::v1::SpanDescription description;
  auto* track = description.add_tracks();
  track->set_track_id(3);
  track->set_side(stored::v1::SIDE_CLERK);
  track->set_codec(16);
  archive_->Span(id, 0, description);
  archive_->Tag(id, "item", {"0417"}, kSecond_us);
  archive_->Tag(id, "item", {"0500"}, 15 * kSecond_us);
  archive_->Tag(id, "rating", {"2"}, 19 * kSecond_us);
  archive_->Event(id, "rated", 19 * kSecond_us);
  archive_->Event(id, "call_started", 0);
  stored::v1::Note anchor;
  anchor.mutable_clock_anchor()->set_wall_time_us(kStart_us);
  anchor.mutable_clock_anchor()->set_source("rtcp");
  archive_->Notes(id, stored::v1::SIDE_RESIDENT, {anchor});
  stored::v1::Gap gap;
  gap.set_side(stored::v1::SIDE_CLERK);
  gap.set_start_us(2 * kSecond_us);
  gap.set_end_us(6 * kSecond_us);
  archive_->Chunk(id, 0, 10 * kSecond_us,
                  {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK}, {gap});
  archive_->Manifest(id);
  archive_->Chunk(id, 10 * kSecond_us, 20 * kSecond_us,
                  {stored::v1::SIDE_RESIDENT});
  archive_->Manifest(id);
  archive_->Close(id);
  api::v1::GetSessionRequest request;
  request.set_session_id(id.ToString());
  const auto response = catalog_->GetSession(request, caller_).value();
  const api::v1::Session& session = response.session();
  EXPECT_EQ(session.session_id(), id.ToString());
  EXPECT_EQ(session.state(), api::v1::SESSION_STATE_CLOSED);
  EXPECT_EQ(session.start_time().seconds(), kStart_us / kSecond_us);
  EXPECT_EQ(session.duration_us(), 20 * kSecond_us);
  EXPECT_EQ(session.end_time().seconds(), kStart_us / kSecond_us + 20);
  EXPECT_EQ(session.payload_bytes(), 3000u);
  EXPECT_EQ(session.segments(), 2u);
  EXPECT_EQ(session.sides_size(), 2);
  ASSERT_EQ(session.tags_size(), 3);
  EXPECT_EQ(session.tags(1).key(), "item");
  EXPECT_EQ(session.tags(1).values_size(), 2);
  ASSERT_EQ(response.timed_tags_size(), 5);
  const api::v1::TimedTag& item = response.timed_tags(2);
  EXPECT_EQ(item.value(), "0417");
  EXPECT_FALSE(item.whole_session());
  EXPECT_EQ(item.from_us(), kSecond_us);
  EXPECT_EQ(item.to_us(), 15 * kSecond_us);
  EXPECT_EQ(response.timed_tags(3).to_us(), 0);
  EXPECT_TRUE(response.timed_tags(4).whole_session());
  ASSERT_EQ(response.spans_size(), 1);
  EXPECT_EQ(response.spans(0).tracks(0).codec(), api::v1::CODEC_OPUS);
  ASSERT_EQ(response.events_size(), 2);
  EXPECT_EQ(response.events(0).event().type(), "call_started");
  ASSERT_EQ(response.clock_anchors_size(), 1);
  EXPECT_EQ(response.clock_anchors(0).source(), "rtcp");
  // The one that was recorded, and the clerk's early end.
  ASSERT_EQ(response.gaps_size(), 2);
  EXPECT_EQ(response.gaps(0).start_us(), 2 * kSecond_us);
  EXPECT_EQ(response.gaps(1).side(), api::v1::SIDE_CLERK);
  EXPECT_EQ(response.gaps(1).start_us(), 10 * kSecond_us);
  EXPECT_EQ(response.gaps(1).end_us(), 20 * kSecond_us);
  ASSERT_EQ(response.sides_size(), 2);
  EXPECT_EQ(response.sides(0).side(), api::v1::SIDE_RESIDENT);
  EXPECT_EQ(response.sides(0).packets(), 20u);
  EXPECT_EQ(response.sides(0).final_sequence(), 20u);
  EXPECT_TRUE(response.complete()) << response.incomplete_reason();

  request.set_session_id(base::Uuid::Random().ToString());
  EXPECT_TRUE(
      absl::IsNotFound(catalog_->GetSession(request, caller_).status()));
  request.set_session_id("rubbish");
  EXPECT_TRUE(
      absl::IsInvalidArgument(catalog_->GetSession(request, caller_).status()));
}

TEST_F(CatalogTest, ASideThatNeverCameIsAGap) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Chunk(id, 0, 10 * kSecond_us, {stored::v1::SIDE_RESIDENT});
  api::v1::GetSessionRequest request;
  request.set_session_id(id.ToString());
  const auto response = catalog_->GetSession(request, caller_).value();
  ASSERT_EQ(response.gaps_size(), 1);
  EXPECT_EQ(response.gaps(0).side(), api::v1::SIDE_CLERK);
  EXPECT_EQ(response.gaps(0).end_us(), 10 * kSecond_us);
}

TEST_F(CatalogTest, SegmentsCarryTheTagsInForce) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "item", {"a"}, 0);
  archive_->Tag(id, "item", {"b"}, 10 * kSecond_us);
  archive_->Segment(id, 0, 10 * kSecond_us);
  archive_->Segment(id, 10 * kSecond_us, 20 * kSecond_us);
  archive_->Tag(id, "rating", {"5"}, 19 * kSecond_us);
  api::v1::ListSegmentsRequest request;
  request.set_oldest_first(true);
  const auto response = catalog_->ListSegments(request, caller_).value();
  ASSERT_EQ(response.segments_size(), 2);
  for (int i = 0; i < 2; ++i) {
    const api::v1::Segment& segment = response.segments(i);
    EXPECT_EQ(segment.segment(), static_cast<uint32_t>(i));
    EXPECT_EQ(segment.start_us(), i * 10 * kSecond_us);
    EXPECT_EQ(segment.payload_bytes(), 2000u);
    ASSERT_EQ(segment.tags_size(), 2);
    EXPECT_EQ(segment.tags(0).values_size(), 1);
    EXPECT_EQ(segment.tags(0).values(0), i == 0 ? "a" : "b");
    EXPECT_EQ(segment.tags(1).values(0), "5");
  }
}

TEST_F(CatalogTest, ACallerThatHasGoneIsNotWorkedFor) {
  archive_->Open(kStart_us);
  EXPECT_EQ(Count(""), 1u);
  caller_.cancelled = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(catalog_->CountSessions({}, caller_).status()));
}

TEST_F(CatalogTest, TheServiceAnswersNobodyWithoutACertificate) {
  SimpleSession(kStart_us, "0417", "accepted");
  CatalogService service(archive_->archive_id(), catalog_.get());
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto stub = api::v1::Catalog::NewStub(server->InProcessChannel({}));
  const auto refused = [](const grpc::Status& status) {
    return status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
  };
  grpc::ClientContext contexts[6];
  api::v1::ListSessionsResponse sessions;
  EXPECT_TRUE(refused(stub->ListSessions(&contexts[0], {}, &sessions)));
  EXPECT_EQ(sessions.sessions_size(), 0);
  api::v1::ListSegmentsResponse segments;
  EXPECT_TRUE(refused(stub->ListSegments(&contexts[1], {}, &segments)));
  api::v1::CountSessionsResponse counts;
  EXPECT_TRUE(refused(stub->CountSessions(&contexts[2], {}, &counts)));
  api::v1::GetSessionResponse session;
  EXPECT_TRUE(refused(stub->GetSession(&contexts[3], {}, &session)));
  api::v1::GetIndexStatusResponse status;
  EXPECT_TRUE(refused(stub->GetIndexStatus(&contexts[4], {}, &status)));
  api::v1::SummarizeResponse summary;
  EXPECT_TRUE(refused(stub->Summarize(&contexts[5], {}, &summary)));
  EXPECT_TRUE(recorder_->records.empty());
}

}  // namespace
}  // namespace diptych::indexer
