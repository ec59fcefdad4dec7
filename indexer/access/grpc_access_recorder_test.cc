#include "indexer/access/grpc_access_recorder.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "archiver/evidence/digest.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/key_file.h"
#include "proto/api/v1/archive_log.grpc.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FakeArchiveLog : public api::v1::ArchiveLog::Service {
 public:
  grpc::Status AppendAccess(grpc::ServerContext*,
                            const api::v1::AppendAccessRequest* request,
                            api::v1::AppendAccessResponse* response) override {
    if (!answer.ok()) return answer;
    received = request->sealed_access();
    commitment = request->commitment();
    response->set_log_position(4711);
    return grpc::Status::OK;
  }

  grpc::Status answer;
  std::string received;
  std::string commitment;
};

class GrpcAccessRecorderTest : public ::testing::Test {
 protected:
  GrpcAccessRecorderTest() {
    keys_.push_back(seal::KeyPair::Generate("audit"));
    archive_.set_archive_id(std::string(16, 'a'));
    archive_.set_suite(1);
    auto* recipient = archive_.add_recipients();
    recipient->set_name("audit");
    recipient->set_public_key(keys_[0].public_key);
    recipient->add_classes(stored::v1::KEY_CLASS_METADATA);

    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    server_ = builder.BuildAndStart();
    recorder_ = std::make_unique<GrpcAccessRecorder>(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                            grpc::InsecureChannelCredentials()),
        archive_);
    record_.set_principal("diptych://somewhere/auditor/li");
    record_.set_action("Media.Read");
    record_.set_purpose("complaint 12");
  }

  ~GrpcAccessRecorderTest() override { server_->Shutdown(); }

  std::vector<seal::KeyPair> keys_;
  stored::v1::ArchiveConfig archive_;
  FakeArchiveLog service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<GrpcAccessRecorder> recorder_;
  stored::v1::AccessRecord record_;
};

TEST_F(GrpcAccessRecorderTest, SealsTheRecordAndReturnsItsPosition) {
  const auto position = recorder_->Record(record_);
  ASSERT_TRUE(position.ok()) << position.status();
  EXPECT_EQ(*position, 4711);
  EXPECT_THAT(service_.received, Not(HasSubstr("complaint")));
  stored::v1::SealedEnvelope envelope;
  ASSERT_TRUE(envelope.ParseFromString(service_.received));
  const auto opened = seal::OpenEnvelope(archive_, envelope, "access", keys_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  stored::v1::AccessRecord sealed;
  ASSERT_TRUE(sealed.ParseFromString(*opened));
  EXPECT_EQ(sealed.salt().size(), 32u);
  EXPECT_EQ(service_.commitment, evidence::AccessCommitment(*opened));
  sealed.clear_salt();
  EXPECT_EQ(sealed.SerializeAsString(), record_.SerializeAsString());
}

TEST_F(GrpcAccessRecorderTest, SameWordsTwiceAreTwoCommitments) {
  ASSERT_TRUE(recorder_->Record(record_).ok());
  const std::string first = service_.commitment;
  ASSERT_TRUE(recorder_->Record(record_).ok());
  EXPECT_NE(service_.commitment, first);
}

TEST_F(GrpcAccessRecorderTest, KeepsTheSaltThatItIsGiven) {
  record_.set_salt(std::string(32, 's'));
  ASSERT_TRUE(recorder_->Record(record_).ok());
  EXPECT_EQ(service_.commitment,
            evidence::AccessCommitment(record_.SerializeAsString()));
}

TEST_F(GrpcAccessRecorderTest, AnyFailureIsUnavailable) {
  service_.answer = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full");
  const auto position = recorder_->Record(record_);
  EXPECT_EQ(position.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(position.status().message()), HasSubstr("full"));

  server_->Shutdown();
  EXPECT_EQ(recorder_->Record(record_).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(GrpcAccessRecorderTest, TooLongARecordIsRefused) {
  record_.set_filter(std::string(70'000, 'x'));
  EXPECT_EQ(recorder_->Record(record_).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(service_.received.empty());
}

}  // namespace
}  // namespace diptych::indexer
