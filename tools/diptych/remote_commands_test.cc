// query, count, show, export and index status against a server that answers
// what the test wants.

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "archiver/base/errors.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/count_command.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/export_command.h"
#include "tools/diptych/index_command.h"
#include "tools/diptych/output.h"
#include "tools/diptych/query_command.h"
#include "tools/diptych/remote_fixture.h"
#include "tools/diptych/show_command.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(RemoteCommandsTest, QueryAsJson) {
  const auto code = RunQuery(Context(true), {.filter = "item:0417"});
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, ExitCode::kDone);
  EXPECT_THAT(
      DataLines(),
      ElementsAre(
          "{\"message_type\":\"session\",\"session\":\"018f3b5e-7a10-"
          "7c3d-9e21-0a1b2c3d4e5f\",\"start\":\"2023-11-14T22:13:20."
          "000Z\",\"end\":\"2023-11-14T22:14:50.000Z\",\"duration_s\":"
          "90.0,\"state\":\"closed\",\"tags\":{\"item\":[\"0417\","
          "\"0420\"]},\"bytes\":4096,\"segments\":9,\"sides\":["
          "\"resident\"],\"matched\":[{\"start_s\":10.0,\"end_s\":25.5}]}",
          "{\"message_type\":\"summary\",\"sessions\":1,\"next_page\":"
          "\"\",\"complete\":true}"));
  EXPECT_EQ(catalog_.list_requests[0].filter(), "item:0417");
  EXPECT_EQ(catalog_.list_requests[0].page_size(), 50u);
}

TEST_F(RemoteCommandsTest, QueryAsATable) {
  ASSERT_TRUE(RunQuery(Context(false, 80), {.filter = ""}).ok());
  EXPECT_THAT(
      DataLines(),
      ElementsAre("SESSION                               START                "
                  " DURATION  TAGS",
                  "018f3b5e-7a10-7c3d-9e21-0a1b2c3d4e5f  2023-11-14 "
                  "22:13:20Z  0:01:30   item=0417…"));
  EXPECT_EQ(messages_.str(), "1 session\n");
}

TEST_F(RemoteCommandsTest, AWideTableSaysWhereTheFilterHolds) {
  auto* const session = catalog_.pages[0].mutable_sessions(0);
  ASSERT_TRUE(RunQuery(Context(false, 200), {.filter = ""}).ok());
  EXPECT_THAT(data_.str(), HasSubstr("  0:00:10-0:00:25  item="));
  for (int i = 0; i < 3; ++i) *session->add_matched() = session->matched(0);
  catalog_.list_requests.clear();
  ASSERT_TRUE(RunQuery(Context(false, 200), {.filter = ""}).ok());
  EXPECT_THAT(data_.str(), HasSubstr("0:00:10-0:00:25 0:00:10-0:00:25 +2 "));
}

TEST_F(RemoteCommandsTest, QueryGoesThroughPagesUpToItsLimit) {
  catalog_.pages[0].set_next_page_token("second");
  catalog_.pages.push_back(catalog_.pages[0]);
  catalog_.pages[1].set_next_page_token("third");
  QueryOptions options;
  options.limit = 2;
  options.page = "first";
  options.oldest_first = true;
  ASSERT_TRUE(RunQuery(Context(true), options).ok());
  ASSERT_EQ(catalog_.list_requests.size(), 2u);
  EXPECT_EQ(catalog_.list_requests[0].page_token(), "first");
  EXPECT_EQ(catalog_.list_requests[0].page_size(), 2u);
  EXPECT_TRUE(catalog_.list_requests[0].oldest_first());
  EXPECT_EQ(catalog_.list_requests[1].page_token(), "second");
  EXPECT_EQ(catalog_.list_requests[1].page_size(), 1u);
  EXPECT_EQ(DataLines().back(),
            "{\"message_type\":\"summary\",\"sessions\":2,\"next_page\":"
            "\"third\",\"complete\":true}");
}

TEST_F(RemoteCommandsTest, AnIncompleteAnswerSaysSo) {
  catalog_.pages[0].set_complete(false);
  catalog_.pages[0].set_incomplete_reason("the index is 5 s behind");
  const auto code = RunQuery(Context(true), {});
  ASSERT_TRUE(code.ok());
  EXPECT_EQ(*code, ExitCode::kIncomplete);
  EXPECT_THAT(DataLines().back(), HasSubstr("\"complete\":false"));
  EXPECT_THAT(messages_.str(), HasSubstr("the index is 5 s behind"));
}

TEST_F(RemoteCommandsTest, ABadFilterKeepsItsPlace) {
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD_FILTER");
  detail.set_field("filter");
  detail.set_field_offset(5);
  catalog_.error = base::MakeError(absl::StatusCode::kInvalidArgument,
                                   "a value is missing", detail);
  const auto code = RunQuery(Context(true), {.filter = "item ="});
  EXPECT_EQ(ExitCodeOf(code.status()), ExitCode::kWrongUse);
  EXPECT_EQ(base::GetErrorDetail(code.status())->field_offset(), 5u);
  EXPECT_EQ(code.status().message(), "a value is missing");
}

TEST_F(RemoteCommandsTest, NobodyThere) {
  server_->Shutdown();
  const auto code = RunQuery(Context(true), {});
  EXPECT_EQ(ExitCodeOf(code.status()), ExitCode::kRetry);
  EXPECT_THAT(std::string(code.status().message()), HasSubstr(address_));
}

TEST_F(RemoteCommandsTest, Segments) {
  auto* segment = catalog_.segments.add_segments();
  segment->set_session_id(kSession);
  segment->set_segment(3);
  segment->mutable_start_time()->set_seconds(kStart_s + 30);
  segment->set_start_us(30'000'000);
  segment->set_end_us(39'500'000);
  segment->set_payload_bytes(7);
  segment->add_tracks_without_key_frame(4);
  segment->set_span(2);
  segment->set_chunks(9);
  segment->set_play_from_us(28'000'000);
  auto* hint = segment->add_key_frames();
  hint->set_track_id(4);
  hint->set_at_us(33'000'000);
  catalog_.segments.set_complete(true);
  ASSERT_TRUE(RunQuery(Context(true), {.segments = true}).ok());
  EXPECT_THAT(
      DataLines(),
      ElementsAre("{\"message_type\":\"segment\",\"session\":\"018f3b5e-7a10-"
                  "7c3d-9e21-0a1b2c3d4e5f\",\"segment\":3,\"start\":\"2023-11-"
                  "14T22:13:50.000Z\",\"end\":\"2023-11-14T22:13:59.500Z\","
                  "\"from_s\":30.0,\"to_s\":39.5,\"duration_s\":9.5,\"tags\":{}"
                  ",\"bytes\":7,\"tracks_without_key_frame\":[4],\"span\":2,"
                  "\"chunks\":9,\"play_from_s\":28.0,\"key_frames\":[{"
                  "\"track\":4,\"at_s\":33.0}]}",
                  "{\"message_type\":\"summary\",\"segments\":1,\"next_page\":"
                  "\"\",\"complete\":true}"));
}

TEST_F(RemoteCommandsTest, Count) {
  catalog_.count.set_sessions(5);
  catalog_.count.set_complete(true);
  auto* group = catalog_.count.add_groups();
  group->set_value("accepted");
  group->set_sessions(4);
  ASSERT_TRUE(RunCount(Context(true), {.filter = "f", .by = {"outcome"}}).ok());
  EXPECT_EQ(catalog_.count_request.filter(), "f");
  EXPECT_EQ(catalog_.count_request.group_by(), "outcome");
  EXPECT_THAT(DataLines(),
              ElementsAre("{\"message_type\":\"group\",\"key\":\"outcome\","
                          "\"value\":\"accepted\",\"sessions\":4}",
                          "{\"message_type\":\"summary\",\"sessions\":5,"
                          "\"groups\":1,\"complete\":true}"));
  ASSERT_TRUE(
      RunCount(Context(false), {.filter = "f", .by = {"outcome"}}).ok());
  EXPECT_THAT(DataLines(),
              ElementsAre("SESSIONS  OUTCOME", "4         accepted"));
  ASSERT_TRUE(RunCount(Context(false), {}).ok());
  EXPECT_EQ(data_.str(), "5\n");
}

TEST_F(RemoteCommandsTest, CountBySeveralKeys) {
  catalog_.summary.set_sessions(5);
  catalog_.summary.set_complete(true);
  auto* facet = catalog_.summary.add_facets();
  facet->set_key("item");
  facet->set_without(1);
  auto* group = facet->add_groups();
  group->set_value("0417");
  group->set_sessions(4);
  catalog_.summary.add_facets()->set_key("clerk");
  const CountOptions options = {.filter = "f", .by = {"item", "clerk"}};
  ASSERT_TRUE(RunCount(Context(true), options).ok());
  EXPECT_EQ(catalog_.summarize_request.filter(), "f");
  EXPECT_THAT(catalog_.summarize_request.keys(), ElementsAre("item", "clerk"));
  EXPECT_THAT(DataLines(),
              ElementsAre("{\"message_type\":\"group\",\"key\":\"item\","
                          "\"value\":\"0417\",\"sessions\":4}",
                          "{\"message_type\":\"facet\",\"key\":\"item\","
                          "\"values\":1,\"without\":1}",
                          "{\"message_type\":\"facet\",\"key\":\"clerk\","
                          "\"values\":0,\"without\":0}",
                          "{\"message_type\":\"summary\",\"sessions\":5,"
                          "\"groups\":1,\"complete\":true}"));
  catalog_.summary.set_complete(false);
  const auto code = RunCount(Context(false), options);
  ASSERT_TRUE(code.ok());
  EXPECT_EQ(*code, ExitCode::kIncomplete);
  EXPECT_THAT(data_.str(), HasSubstr("SESSIONS  ITEM\n4         0417\n"));
}

TEST_F(RemoteCommandsTest, ShowSaysEverything) {
  api::v1::GetSessionResponse& session = catalog_.session;
  auto* tag = session.add_timed_tags();
  tag->set_key("item");
  tag->set_value("0417");
  tag->set_from_us(1'000'000);
  tag->set_to_us(2'000'000);
  auto* whole = session.add_timed_tags();
  whole->set_key("rating");
  whole->set_value("1");
  whole->set_whole_session(true);
  auto* span = session.add_spans();
  auto* track = span->add_tracks();
  track->set_track_id(1);
  track->set_side(api::v1::SIDE_RESIDENT);
  track->set_source(api::v1::SOURCE_CAMERA);
  track->set_codec(api::v1::CODEC_VP8);
  track->set_width(640);
  track->set_height(480);
  auto* gap = session.add_gaps();
  gap->set_side(api::v1::SIDE_CLERK);
  gap->set_start_us(5'000'000);
  gap->set_end_us(7'500'000);
  auto* at = session.add_events();
  at->set_at_us(3'000'000);
  at->set_side(api::v1::SIDE_CLERK);
  at->mutable_event()->set_type("document_captured");
  at->mutable_event()->set_attachment_id(1);
  at->mutable_event()->set_attachment_bytes(2048);
  at->mutable_event()->set_attachment_name("a.png");
  at->mutable_event()->set_attachment_media_type("image/png");
  auto* anchor = session.add_clock_anchors();
  anchor->set_track_id(1);
  anchor->mutable_wall_time()->set_seconds(kStart_s);
  anchor->set_source("rtcp");
  ASSERT_TRUE(RunShow(Context(false), {.session = kSession}).ok());
  for (const char* part :
       {kSession, "closed", "2023-11-14T22:13:20.000Z", "0:01:30.000",
        "4.0 KiB in 9 segments", "no rule set", "0417", "0:00:01.000",
        "whole session", "resident camera vp8 640x480", "2.500",
        "document_captured", "attachment 1: a.png (image/png, 2.0 KiB)",
        "rtcp"}) {
    EXPECT_THAT(data_.str(), HasSubstr(part));
  }
  ASSERT_TRUE(RunShow(Context(true), {.session = kSession}).ok());
  std::vector<std::string> types;
  for (const std::string& line : DataLines()) {
    types.push_back(Json::parse(line)["message_type"].get<std::string>());
  }
  EXPECT_THAT(types, ElementsAre("session", "tag", "tag", "span", "gap",
                                 "clock", "event", "summary"));
  EXPECT_EQ(ExitCodeOf(RunShow(Context(true), {.session = "x"}).status()),
            ExitCode::kWrongUse);
}

TEST_F(RemoteCommandsTest, ExportWritesWholeFiles) {
  ExportOptions options = Export("out.mp4");
  options.from = "5s";
  options.to = "2023-11-14T22:13:29Z";
  options.side = "clerk";
  options.format = "mp4";
  const auto code = RunExport(Context(true), options);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(Content(options.path), "headdata");
  EXPECT_THAT(Files(), ElementsAre("out.mp4"));
  ASSERT_EQ(media_.read_requests.size(), 1u);
  const api::v1::ReadRequest& request = media_.read_requests[0];
  EXPECT_EQ(request.session_id(), kSession);
  EXPECT_EQ(request.from_us(), 5'000'000);
  EXPECT_EQ(request.to_us(), 9'000'000);
  EXPECT_THAT(request.sides(), ElementsAre(api::v1::SIDE_CLERK));
  EXPECT_EQ(request.container(), api::v1::CONTAINER_MP4);
  EXPECT_EQ(request.purpose(), "a complaint");
  const Json file = Json::parse(DataLines().front());
  EXPECT_EQ(file["message_type"], "file");
  EXPECT_EQ(file["from_s"], 4.0);
  EXPECT_EQ(file["bytes"], 8);
  EXPECT_EQ(file["access_log_position"], 77);
  EXPECT_THAT(DataLines().back(), HasSubstr("\"files\":1"));
  EXPECT_THAT(messages_.str(), HasSubstr("begins at 0:00:04.000"));
}

TEST_F(RemoteCommandsTest, ExportOfEverythingAsksForNoRange) {
  ASSERT_TRUE(RunExport(Context(false), Export("out.mkv")).ok());
  EXPECT_FALSE(media_.read_requests[0].has_from_us());
  EXPECT_FALSE(media_.read_requests[0].has_to_us());
  EXPECT_THAT(media_.read_requests[0].sides(), IsEmpty());
  EXPECT_EQ(media_.read_requests[0].container(), api::v1::CONTAINER_MATROSKA);
}

TEST_F(RemoteCommandsTest, AFailedReadLeavesNoFile) {
  media_.responses.pop_back();
  media_.error = base::IntegrityError("chunk 7 is damaged");
  const auto code = RunExport(Context(true), Export("out.mkv"));
  EXPECT_EQ(ExitCodeOf(code.status()), ExitCode::kIntegrity);
  EXPECT_EQ(code.status().message(), "chunk 7 is damaged");
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RemoteCommandsTest, AnAnswerThatEndsTooEarlyLeavesNoFile) {
  // No ReadFinished, then one that promises more than came.
  media_.responses.pop_back();
  EXPECT_EQ(ExitCodeOf(RunExport(Context(true), Export("out.mkv")).status()),
            ExitCode::kIntegrity);
  api::v1::ReadResponse finished;
  finished.mutable_finished()->set_file_bytes(9);
  media_.responses.push_back(finished);
  EXPECT_EQ(ExitCodeOf(RunExport(Context(true), Export("out.mkv")).status()),
            ExitCode::kIntegrity);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RemoteCommandsTest, ExportRefusesExistingFilesBeforeReading) {
  ExportOptions options = Export("out.mkv");
  Write(options.path, "old");
  EXPECT_EQ(RunExport(Context(true), options).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(media_.read_requests, IsEmpty());
  EXPECT_EQ(Content(options.path), "old");
  options.force = true;
  ASSERT_TRUE(RunExport(Context(true), options).ok());
  EXPECT_EQ(Content(options.path), "headdata");
}

TEST_F(RemoteCommandsTest, ExportOfAFilterFillsAFolder) {
  ExportOptions options = Export("folder");
  options.session.clear();
  options.filter = "item:0417";
  options.has_filter = true;
  options.format = "webm";
  ASSERT_TRUE(RunExport(Context(true), options).ok());
  EXPECT_EQ(Content(absl::StrCat(options.path, "/", kSession, ".webm")),
            "headdata");
  catalog_.list_requests.clear();
  catalog_.pages[0].clear_sessions();
  EXPECT_EQ(ExitCodeOf(RunExport(Context(true), options).status()),
            ExitCode::kNotFound);
}

TEST_F(RemoteCommandsTest, ExportOfAttachments) {
  auto* at = catalog_.session.add_events();
  at->mutable_event()->set_type("document_captured");
  at->mutable_event()->set_attachment_id(4);
  at->mutable_event()->set_attachment_bytes(6);
  at->mutable_event()->set_attachment_name("../../etc/x y.png");
  media_.attachment = {"abc", "def"};
  ExportOptions options = Export("out.mkv");
  options.attachments = true;
  ASSERT_TRUE(RunExport(Context(true), options).ok());
  EXPECT_THAT(Files(), ElementsAre("out.4-_._.._etc_x_y.png", "out.mkv"));
  EXPECT_EQ(Content(root_ + "/out.4-_._.._etc_x_y.png"), "abcdef");
  EXPECT_EQ(media_.attachment_requests[0].purpose(), "a complaint");
  media_.attachment = {"abc"};
  options = Export("second.mkv");
  options.attachments = true;
  EXPECT_EQ(ExitCodeOf(RunExport(Context(true), options).status()),
            ExitCode::kIntegrity);
}

TEST_F(RemoteCommandsTest, ExportSaysWhatItCannotDo) {
  const auto refused = [&](const std::function<void(ExportOptions*)>& change) {
    ExportOptions options = Export("out");
    change(&options);
    return ExitCodeOf(RunExport(Context(true), options).status());
  };
  const ExitCode wrong = ExitCode::kWrongUse;
  EXPECT_EQ(refused([](auto* o) { o->format = "avi"; }), wrong);
  EXPECT_EQ(refused([](auto* o) { o->media = "mp4"; }), wrong);
  EXPECT_EQ(refused([](auto* o) { o->format = "bundle", o->media = "webm"; }),
            wrong);
  EXPECT_EQ(refused([](auto* o) { o->layout = "side-by-side"; }), wrong);
  EXPECT_EQ(refused([](auto* o) { o->purpose = "  "; }), wrong);
  EXPECT_EQ(refused([](auto* o) { o->purpose = std::string(1025, 'x'); }),
            wrong);
  EXPECT_EQ(refused([](auto* o) { o->from = "yesterday"; }), wrong);
  EXPECT_EQ(refused([](auto* o) { o->session = "x"; }), wrong);
  EXPECT_EQ(refused([](auto* o) { o->session.clear(); }), wrong);
  EXPECT_EQ(refused([](auto* o) { o->from = "9s", o->to = "8s"; }), wrong);
  EXPECT_THAT(media_.read_requests, IsEmpty());
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RemoteCommandsTest, IndexStatus) {
  catalog_.index.set_sessions(2);
  catalog_.index.set_indexed_position(100);
  catalog_.index.set_log_position(1124);
  catalog_.index.set_writer_reachable(true);
  const auto code = RunIndexStatus(Context(false));
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, ExitCode::kDone);
  EXPECT_THAT(data_.str(), HasSubstr("behind    1.0 KiB"));
  catalog_.index.set_writer_reachable(false);
  EXPECT_EQ(*RunIndexStatus(Context(true)), ExitCode::kIncomplete);
  EXPECT_THAT(DataLines().back(), HasSubstr("\"writer_reachable\":false"));
}

}  // namespace
}  // namespace diptych::cli
