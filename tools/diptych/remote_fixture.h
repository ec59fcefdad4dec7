#ifndef TOOLS_DIPTYCH_REMOTE_FIXTURE_H_
#define TOOLS_DIPTYCH_REMOTE_FIXTURE_H_

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"
#include "proto/api/v1/catalog.grpc.pb.h"
#include "proto/api/v1/media.grpc.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/export_command.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"
#include "tools/diptych/profile.h"
#include "tools/pki/pki.h"

// A server that answers what a test wants, and a profile that leads to it.

namespace diptych::cli {

inline constexpr char kSession[] = "018f3b5e-7a10-7c3d-9e21-0a1b2c3d4e5f";
inline constexpr int64_t kStart_s = 1'700'000'000;

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
  grpc::Status Summarize(grpc::ServerContext*,
                         const api::v1::SummarizeRequest* request,
                         api::v1::SummarizeResponse* response) override {
    summarize_request = *request;
    *response = summary;
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
  api::v1::SummarizeRequest summarize_request;
  api::v1::SummarizeResponse summary;
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

inline void Write(const std::string& path, const std::string& content) {
  std::ofstream(path) << content;
  chmod(path.c_str(), 0600);
}

class RemoteCommandsTest : public testing::Test {
 protected:
  RemoteCommandsTest() {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/profile");
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
    auto* matched = page.mutable_sessions(0)->add_matched();
    matched->set_start_us(10'000'000);
    matched->set_end_us(25'500'000);
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
    for (const auto& entry : std::filesystem::directory_iterator(root_)) {
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

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_REMOTE_FIXTURE_H_
