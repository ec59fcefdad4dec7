#include "indexer/retrieval/media_service.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/principal.h"
#include "archiver/log/record.h"
#include "indexer/access/access_recorder.h"
#include "indexer/retrieval/test_archive.h"
#include "indexer/retrieval/test_media.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/media.grpc.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using ::testing::HasSubstr;

class FakeAccessRecorder : public AccessRecorder {
 public:
  absl::StatusOr<log::Position> Record(
      const stored::v1::AccessRecord& record) override {
    if (!answer.ok()) return answer;
    records.push_back(record);
    return 777;
  }

  absl::Status answer;
  std::vector<stored::v1::AccessRecord> records;
};

// Everything a call gave.
struct Call {
  absl::Status status;
  std::vector<api::v1::ReadResponse> responses;
  FileBytes file;
};

class MediaServiceTest : public ::testing::Test {
 protected:
  MediaServiceTest() {
    media_ = ReadMedia(OwnMedia("janus-h264-opus-resident.mkv"));
    MakeSide(stored::v1::SIDE_RESIDENT, 1, &media_);
    session_ = archive_.AddSession({{media_}});
    Serve([this](const grpc::ServerContextBase&)
              -> absl::StatusOr<base::Principal> {
      return base::Principal{base::Role::kAuditor, "li", archive_.archive_id()};
    });
  }

  ~MediaServiceTest() override { server_->Shutdown(); }

  void Serve(MediaService::Authorize authorize) {
    if (server_ != nullptr) server_->Shutdown();
    MediaService::Options options;
    options.archive_id = archive_.archive_id();
    options.index = &archive_;
    options.log = &archive_.log();
    options.key_store = &archive_.key_store();
    options.access = &access_;
    options.clock = base::Clock::Real();
    options.keys = archive_.CloneKeys();
    options.authorize = std::move(authorize);
    service_ = std::make_unique<MediaService>(std::move(options));
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = api::v1::Media::NewStub(
        server_->InProcessChannel(grpc::ChannelArguments()));
  }

  api::v1::ReadRequest Request() const {
    api::v1::ReadRequest request;
    request.set_session_id(session_.ToString());
    request.set_container(api::v1::CONTAINER_MP4);
    request.set_purpose("complaint 12");
    return request;
  }

  Call Read(const api::v1::ReadRequest& request) {
    Call call;
    grpc::ClientContext context;
    auto stream = stub_->Read(&context, request);
    api::v1::ReadResponse response;
    while (stream->Read(&response)) {
      if (response.has_data()) {
        call.file.Write(response.data().offset(), response.data().data());
      }
      call.responses.push_back(response);
    }
    call.status = base::FromGrpcStatus(stream->Finish());
    return call;
  }

  std::pair<absl::Status, std::string> ReadAttachment(
      uint32_t attachment_id, const std::string& purpose) {
    grpc::ClientContext context;
    api::v1::ReadAttachmentRequest request;
    request.set_session_id(session_.ToString());
    request.set_attachment_id(attachment_id);
    request.set_purpose(purpose);
    auto stream = stub_->ReadAttachment(&context, request);
    api::v1::ReadAttachmentResponse response;
    std::string bytes;
    while (stream->Read(&response)) bytes += response.data();
    return {base::FromGrpcStatus(stream->Finish()), bytes};
  }

  TestArchive archive_;
  TestMedia media_;
  base::Uuid session_;
  FakeAccessRecorder access_;
  std::unique_ptr<MediaService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<api::v1::Media::Stub> stub_;
};

TEST_F(MediaServiceTest, ReadsAndRecords) {
  auto request = Request();
  request.add_sides(api::v1::SIDE_RESIDENT);
  request.set_to_us(8'000'000);
  const Call call = Read(request);
  ASSERT_TRUE(call.status.ok()) << call.status;
  ASSERT_GE(call.responses.size(), 3u);
  ASSERT_TRUE(call.responses.front().has_started());
  EXPECT_EQ(call.responses.front().started().access_log_position(), 777u);
  EXPECT_EQ(call.responses.front().started().tracks_size(), 2);
  ASSERT_TRUE(call.responses.back().has_finished());
  EXPECT_EQ(call.responses.back().finished().file_bytes(),
            call.file.bytes().size());
  for (const auto& response : call.responses) {
    EXPECT_LE(response.data().data().size(), limits::kReadData_bytes);
  }
  std::vector<TestPacket> expected;
  for (const TestPacket& packet : media_.Of(1)) {
    if (packet.info.pts_us < 8'000'000) expected.push_back(packet);
  }
  ExpectSamePackets(expected, ReadMediaBytes(call.file.bytes()), 1, 0);

  ASSERT_EQ(access_.records.size(), 1u);
  const stored::v1::AccessRecord& record = access_.records[0];
  EXPECT_EQ(record.action(), "Media.Read");
  EXPECT_THAT(record.principal(), HasSubstr("/auditor/li"));
  EXPECT_EQ(record.session_id(), session_.bytes());
  EXPECT_EQ(record.purpose(), "complaint 12");
  EXPECT_EQ(record.to_us(), 8'000'000);
  EXPECT_EQ(record.sides_size(), 1);
  EXPECT_GT(record.time_us(), 0);
}

TEST_F(MediaServiceTest, NothingIsReadUnrecorded) {
  access_.answer = absl::UnavailableError("the archiver is away");
  Call call = Read(Request());
  EXPECT_EQ(call.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(call.responses.empty());
  archive_.AddAttachment(session_, 5, {"abc"});
  const auto [status, bytes] = ReadAttachment(5, "complaint 12");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(bytes.empty());
}

TEST_F(MediaServiceTest, WhoMayNotReadIsRefusedFirst) {
  Serve([](const grpc::ServerContextBase&) -> absl::StatusOr<base::Principal> {
    return absl::PermissionDeniedError("a gateway only writes");
  });
  auto request = Request();
  request.clear_purpose();
  EXPECT_EQ(Read(request).status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ReadAttachment(5, "why").first.code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(access_.records.empty());
}

TEST_F(MediaServiceTest, WithoutACertificateNobodyReads) {
  Serve(nullptr);
  EXPECT_EQ(Read(Request()).status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(access_.records.empty());
}

TEST_F(MediaServiceTest, BadRequestsAreNamedAndNotRecorded) {
  const auto field = [&](const api::v1::ReadRequest& request) {
    const Call call = Read(request);
    EXPECT_EQ(call.status.code(), absl::StatusCode::kInvalidArgument);
    return base::GetErrorDetail(call.status)
        .value_or(api::v1::ErrorDetail())
        .field();
  };
  auto request = Request();
  request.clear_purpose();
  EXPECT_EQ(field(request), "purpose");
  request.set_purpose(std::string(limits::kMaxPurpose_bytes + 1, 'x'));
  EXPECT_EQ(field(request), "purpose");
  request = Request();
  request.set_session_id("42");
  EXPECT_EQ(field(request), "session_id");
  request = Request();
  request.clear_container();
  EXPECT_EQ(field(request), "container");
  request = Request();
  request.set_from_us(5);
  request.set_to_us(5);
  EXPECT_EQ(field(request), "from_us");
  request = Request();
  request.add_sides(api::v1::SIDE_UNSPECIFIED);
  EXPECT_EQ(field(request), "sides");
  EXPECT_TRUE(access_.records.empty());
}

TEST_F(MediaServiceTest, BundlesAreCheckedAndRecordedAsReadsAre) {
  const auto read = [&](const api::v1::ReadRequest& request) {
    grpc::ClientContext context;
    auto stream = stub_->ReadBundle(&context, request);
    api::v1::ReadBundleResponse response;
    EXPECT_FALSE(stream->Read(&response));
    return base::FromGrpcStatus(stream->Finish());
  };
  auto request = Request();
  request.set_container(api::v1::CONTAINER_WEBM);
  EXPECT_EQ(base::GetErrorDetail(read(request))
                .value_or(api::v1::ErrorDetail())
                .field(),
            "container");
  request = Request();
  request.clear_purpose();
  EXPECT_EQ(read(request).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(access_.records.empty());

  access_.answer = absl::UnavailableError("the archiver is away");
  EXPECT_EQ(read(Request()).code(), absl::StatusCode::kUnavailable);
  access_.answer = absl::OkStatus();
  request = Request();
  request.set_from_us(5);
  request.add_sides(api::v1::SIDE_CLERK);
  // This archive has no evidence; that somebody asked is recorded all the same.
  EXPECT_EQ(read(request).code(), absl::StatusCode::kUnimplemented);
  ASSERT_EQ(access_.records.size(), 1u);
  const stored::v1::AccessRecord& record = access_.records[0];
  EXPECT_EQ(record.action(), "Media.ReadBundle");
  EXPECT_EQ(record.from_us(), 5);
  EXPECT_EQ(record.sides_size(), 1);
  EXPECT_EQ(record.salt().size(), 32u);

  Serve([](const grpc::ServerContextBase&) -> absl::StatusOr<base::Principal> {
    return absl::PermissionDeniedError("a gateway only writes");
  });
  EXPECT_EQ(read(Request()).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(access_.records.size(), 1u);
}

TEST_F(MediaServiceTest, UnknownSessionIsNotFound) {
  auto request = Request();
  request.set_session_id(base::Uuid::Random().ToString());
  EXPECT_EQ(Read(request).status.code(), absl::StatusCode::kNotFound);
}

TEST_F(MediaServiceTest, AChangedChunkEndsTheStreamWithDataLoss) {
  session_ = archive_.AddSession({{media_}}, {6});
  const Call call = Read(Request());
  EXPECT_EQ(call.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(call.status.message()), HasSubstr("chunk 6"));
  const auto detail = base::GetErrorDetail(call.status);
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->session_id(), session_.ToString());
  EXPECT_GT(call.responses.size(), 1u);
  EXPECT_FALSE(call.responses.back().has_finished());
}

TEST_F(MediaServiceTest, AttachmentsComeWhole) {
  const std::vector<std::string> parts = {std::string(300'000, 'a'),
                                          std::string(300'000, 'b'), "c"};
  archive_.AddAttachment(session_, 5, parts);
  // The index may give them in any order, and one twice.
  auto& known = archive_.attachment().parts;
  std::swap(known[0], known[2]);
  known.push_back(known[1]);
  auto [status, bytes] = ReadAttachment(5, "complaint 12");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(bytes == parts[0] + parts[1] + parts[2]);
  ASSERT_EQ(access_.records.size(), 1u);
  EXPECT_EQ(access_.records[0].action(), "Media.ReadAttachment of 5");

  EXPECT_EQ(ReadAttachment(6, "complaint 12").first.code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadAttachment(5, "").first.code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(MediaServiceTest, AttachmentsThatAreNotWholeSaySo) {
  archive_.AddAttachment(session_, 5, {"aaa", "bbb", "ccc"});
  const AttachmentRef whole = archive_.attachment();
  archive_.attachment().parts.erase(archive_.attachment().parts.begin() + 1);
  auto [status, bytes] = ReadAttachment(5, "complaint 12");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("from 3 on"));

  archive_.attachment() = whole;
  archive_.attachment().parts.pop_back();
  EXPECT_EQ(ReadAttachment(5, "complaint 12").first.code(),
            absl::StatusCode::kFailedPrecondition);

  archive_.attachment() = whole;
  archive_.DamageRecord(whole.parts[2].position, 60);
  EXPECT_EQ(ReadAttachment(5, "complaint 12").first.code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace diptych::indexer
