// query, count, show, export and index status against a server that answers
// what the test wants.

#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"
#include "proto/api/v1/catalog.grpc.pb.h"
#include "proto/api/v1/media.grpc.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/count_command.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/export_command.h"
#include "tools/diptych/index_command.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"
#include "tools/diptych/profile.h"
#include "tools/diptych/query_command.h"
#include "tools/diptych/show_command.h"
#include "tools/pki/pki.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kSession[] = "018f3b5e-7a10-7c3d-9e21-0a1b2c3d4e5f";
constexpr int64_t kStart_s = 1'700'000'000;

// Answers with what the test put in; remembers what it was asked.
class FakeCatalog final : public api::v1::Catalog::Service {
 public:
  grpc::Status ListSessions(grpc::ServerContext*,
                            const api::v1::ListSessionsRequest* request,
                            api::v1::ListSessionsResponse* response) override {
    list_requests.push_back(*request);
    if (!error.ok()) return base::ToGrpcStatus(error);
    if (list_requests.size() <= pages.size()) {
      *response = pages[list_requests.size() - 1];
    }
    return grpc::Status::OK;
  }
  grpc::Status ListSegments(grpc::ServerContext*,
                            const api::v1::ListSegmentsRequest*,
                            api::v1::ListSegmentsResponse* response) override {
    *response = segments;
    return base::ToGrpcStatus(error);
  }
  grpc::Status CountSessions(
      grpc::ServerContext*, const api::v1::CountSessionsRequest* request,
      api::v1::CountSessionsResponse* response) override {
    count_request = *request;
    *response = count;
    return base::ToGrpcStatus(error);
  }
  grpc::Status GetSession(grpc::ServerContext*,
                          const api::v1::GetSessionRequest*,
                          api::v1::GetSessionResponse* response) override {
    *response = session;
    return base::ToGrpcStatus(error);
  }
  grpc::Status GetIndexStatus(
      grpc::ServerContext*, const api::v1::GetIndexStatusRequest*,
      api::v1::GetIndexStatusResponse* response) override {
    *response = index;
    return base::ToGrpcStatus(error);
  }

  absl::Status error;
  std::vector<api::v1::ListSessionsRequest> list_requests;
  std::vector<api::v1::ListSessionsResponse> pages;
  api::v1::ListSegmentsResponse segments;
  api::v1::CountSessionsRequest count_request;
  api::v1::CountSessionsResponse count;
  api::v1::GetSessionResponse session;
  api::v1::GetIndexStatusResponse index;
};

class FakeMedia final : public api::v1::Media::Service {
 public:
  grpc::Status Read(
      grpc::ServerContext*, const api::v1::ReadRequest* request,
      grpc::ServerWriter<api::v1::ReadResponse>* writer) override {
    read_requests.push_back(*request);
    for (const api::v1::ReadResponse& response : responses) {
      writer->Write(response);
    }
    return base::ToGrpcStatus(error);
  }
  grpc::Status ReadAttachment(
      grpc::ServerContext*, const api::v1::ReadAttachmentRequest* request,
      grpc::ServerWriter<api::v1::ReadAttachmentResponse>* writer) override {
    attachment_requests.push_back(*request);
    for (const std::string& part : attachment) {
      api::v1::ReadAttachmentResponse response;
      response.set_data(part);
      writer->Write(response);
    }
    return grpc::Status::OK;
  }

  void AddData(uint64_t offset, const std::string& data) {
    api::v1::ReadResponse response;
    response.mutable_data()->set_offset(offset);
    response.mutable_data()->set_data(data);
    responses.push_back(response);
  }

  absl::Status error;
  std::vector<api::v1::ReadRequest> read_requests;
  std::vector<api::v1::ReadResponse> responses;
  std::vector<api::v1::ReadAttachmentRequest> attachment_requests;
  std::vector<std::string> attachment;
};

void Write(const std::string& path, const std::string& content) {
  std::ofstream(path) << content;
  chmod(path.c_str(), 0600);
}

class RemoteCommandsTest : public testing::Test {
 protected:
  RemoteCommandsTest() {
    fs::remove_all(root_);
    fs::create_directories(root_ + "/profile");
    const base::Uuid archive_id = base::Uuid::Random();
    const pki::Credential authority = *pki::MakeAuthority(archive_id);
    const pki::Credential server = *pki::IssueCertificate(
        authority, {base::Role::kServer, "audit", archive_id});
    const pki::Credential client = *pki::IssueCertificate(
        authority, {base::Role::kAuditor, "auditor", archive_id});
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = authority.certificate_pem;
    options.pem_key_cert_pairs.push_back(
        {server.private_key_pem, server.certificate_pem});
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options),
                             &port);
    builder.RegisterService(&catalog_);
    builder.RegisterService(&media_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);

    Profile profile;
    profile.archive_id = archive_id;
    profile.role = "auditor";
    profile.audit_address = address_;
    profile.ingest_address = address_;
    Write(root_ + "/profile/profile.json", ProfileJson(profile));
    Write(root_ + "/profile/ca.crt", authority.certificate_pem);
    Write(root_ + "/profile/client.crt", client.certificate_pem);
    Write(root_ + "/profile/client.key", client.private_key_pem);
    FillAnswers();
  }

  ~RemoteCommandsTest() override { server_->Shutdown(); }

  void FillAnswers() {
    api::v1::Session session;
    session.set_session_id(kSession);
    session.mutable_start_time()->set_seconds(kStart_s);
    session.mutable_end_time()->set_seconds(kStart_s + 90);
    session.set_duration_us(90'000'000);
    session.set_state(api::v1::SESSION_STATE_CLOSED);
    session.set_payload_bytes(4096);
    session.set_segments(9);
    session.add_sides(api::v1::SIDE_RESIDENT);
    auto* tag = session.add_tags();
    tag->set_key("item");
    tag->add_values("0417");
    tag->add_values("0420");
    api::v1::ListSessionsResponse page;
    *page.add_sessions() = session;
    page.set_complete(true);
    catalog_.pages.push_back(page);
    *catalog_.session.mutable_session() = session;
    catalog_.session.set_complete(true);

    api::v1::ReadResponse started;
    started.mutable_started()->set_access_log_position(77);
    started.mutable_started()->set_from_us(4'000'000);
    started.mutable_started()->set_to_us(9'000'000);
    started.mutable_started()->set_file_origin_us(4'000'000);
    auto* track = started.mutable_started()->add_tracks();
    track->set_track_id(1);
    track->set_side(api::v1::SIDE_CLERK);
    track->set_source(api::v1::SOURCE_CAMERA);
    track->set_codec(api::v1::CODEC_H264);
    media_.responses.push_back(started);
    media_.AddData(4, "data");
    media_.AddData(0, "head");
    api::v1::ReadResponse finished;
    finished.mutable_finished()->set_file_bytes(8);
    media_.responses.push_back(finished);
  }

  CommandContext Context(bool json, size_t width = 0) {
    data_.str("");
    messages_.str("");
    output_ = std::make_unique<Output>(
        OutputOptions{.json = json, .width = width}, &data_, &messages_);
    return {output_.get(), &interrupt_, root_ + "/profile"};
  }

  std::vector<std::string> DataLines() {
    return absl::StrSplit(data_.str(), '\n', absl::SkipEmpty());
  }

  ExportOptions Export(const std::string& name) {
    ExportOptions options;
    options.session = kSession;
    options.path = root_ + "/" + name;
    options.purpose = "a complaint";
    return options;
  }

  static std::string Content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  // All that lies in the test's folder beside the profile.
  std::vector<std::string> Files() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_)) {
      if (entry.path().filename() != "profile") {
        names.push_back(entry.path().filename().string());
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Interrupt interrupt_;
  const std::string root_ =
      absl::StrCat(std::getenv("TEST_TMPDIR"), "/remote_commands_test");
  FakeCatalog catalog_;
  FakeMedia media_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::ostringstream data_;
  std::ostringstream messages_;
  std::unique_ptr<Output> output_;
};

TEST_F(RemoteCommandsTest, QueryAsJson) {
  const auto code = RunQuery(Context(true), {.filter = "item:0417"});
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, ExitCode::kDone);
  EXPECT_THAT(
      DataLines(),
      ElementsAre("{\"message_type\":\"session\",\"session\":\"018f3b5e-7a10-"
                  "7c3d-9e21-0a1b2c3d4e5f\",\"start\":\"2023-11-14T22:13:20."
                  "000Z\",\"end\":\"2023-11-14T22:14:50.000Z\",\"duration_s\":"
                  "90.0,\"state\":\"closed\",\"tags\":{\"item\":[\"0417\","
                  "\"0420\"]},\"bytes\":4096,\"segments\":9,\"sides\":["
                  "\"resident\"]}",
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
  catalog_.segments.set_complete(true);
  ASSERT_TRUE(RunQuery(Context(true), {.segments = true}).ok());
  EXPECT_THAT(
      DataLines(),
      ElementsAre("{\"message_type\":\"segment\",\"session\":\"018f3b5e-7a10-"
                  "7c3d-9e21-0a1b2c3d4e5f\",\"segment\":3,\"start\":\"2023-11-"
                  "14T22:13:50.000Z\",\"end\":\"2023-11-14T22:13:59.500Z\","
                  "\"from_s\":30.0,\"to_s\":39.5,\"duration_s\":9.5,\"tags\":{}"
                  ",\"bytes\":7,\"tracks_without_key_frame\":[4]}",
                  "{\"message_type\":\"summary\",\"segments\":1,\"next_page\":"
                  "\"\",\"complete\":true}"));
}

TEST_F(RemoteCommandsTest, Count) {
  catalog_.count.set_sessions(5);
  catalog_.count.set_complete(true);
  auto* group = catalog_.count.add_groups();
  group->set_value("accepted");
  group->set_sessions(4);
  ASSERT_TRUE(RunCount(Context(true), {.filter = "f", .by = "outcome"}).ok());
  EXPECT_EQ(catalog_.count_request.filter(), "f");
  EXPECT_EQ(catalog_.count_request.group_by(), "outcome");
  EXPECT_THAT(DataLines(),
              ElementsAre("{\"message_type\":\"group\",\"key\":\"outcome\","
                          "\"value\":\"accepted\",\"sessions\":4}",
                          "{\"message_type\":\"summary\",\"sessions\":5,"
                          "\"groups\":1,\"complete\":true}"));
  ASSERT_TRUE(RunCount(Context(false), {.filter = "f", .by = "outcome"}).ok());
  EXPECT_THAT(DataLines(),
              ElementsAre("SESSIONS  OUTCOME", "4         accepted"));
  ASSERT_TRUE(RunCount(Context(false), {}).ok());
  EXPECT_EQ(data_.str(), "5\n");
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
