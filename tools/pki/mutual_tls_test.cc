// What gRPC makes of these certificates: who gets in, and as whom.

#include <cstdlib>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"
#include "proto/api/v1/catalog.grpc.pb.h"
#include "tools/pki/pki.h"

namespace diptych::pki {
namespace {

// Lets operators of its archive in and counts nothing.
class StatusService final : public api::v1::Catalog::Service {
 public:
  explicit StatusService(const base::Uuid& archive_id)
      : archive_id_(archive_id) {}

  grpc::Status GetIndexStatus(
      grpc::ServerContext* context, const api::v1::GetIndexStatusRequest*,
      api::v1::GetIndexStatusResponse* response) override {
    const auto principal =
        base::RequireRole(*context, archive_id_, {base::Role::kOperator});
    if (!principal.ok()) return base::ToGrpcStatus(principal.status());
    response->set_sessions(principal->name.size());
    return grpc::Status::OK;
  }

 private:
  const base::Uuid archive_id_;
};

class MutualTlsTest : public testing::Test {
 protected:
  MutualTlsTest() : service_(archive_) {
    const Credential server_credential =
        *IssueCertificate(authority_, {base::Role::kServer, "audit", archive_});
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = authority_.certificate_pem;
    options.pem_key_cert_pairs.push_back(
        {server_credential.private_key_pem, server_credential.certificate_pem});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options),
                             &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }

  ~MutualTlsTest() override { server_->Shutdown(); }

  grpc::Status Call(const Credential& client, const std::string& host,
                    api::v1::GetIndexStatusResponse* response) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = authority_.certificate_pem;
    options.pem_cert_chain = client.certificate_pem;
    options.pem_private_key = client.private_key_pem;
    const auto stub = api::v1::Catalog::NewStub(grpc::CreateChannel(
        absl::StrCat(host, ":", port_), grpc::SslCredentials(options)));
    grpc::ClientContext context;
    return stub->GetIndexStatus(&context, {}, response);
  }

  grpc::Status CallAs(base::Role role, const base::Uuid& archive) {
    const Credential client =
        *IssueCertificate(authority_, {role, "somebody", archive});
    api::v1::GetIndexStatusResponse response;
    return Call(client, "127.0.0.1", &response);
  }

  const base::Uuid archive_ = base::Uuid::Random();
  const Credential authority_ = *MakeAuthority(archive_);
  StatusService service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

TEST_F(MutualTlsTest, TheRightRoleGetsInUnderItsName) {
  const Credential client = *IssueCertificate(
      authority_, {base::Role::kOperator, "nightshift", archive_});
  for (const char* host : {"127.0.0.1", "localhost"}) {
    api::v1::GetIndexStatusResponse response;
    const grpc::Status status = Call(client, host, &response);
    ASSERT_TRUE(status.ok()) << host << ": " << status.error_message();
    EXPECT_EQ(response.sessions(), std::string("nightshift").size());
  }
}

TEST_F(MutualTlsTest, AnotherRoleOrArchiveIsDenied) {
  EXPECT_EQ(CallAs(base::Role::kGateway, archive_).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(CallAs(base::Role::kOperator, base::Uuid::Random()).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(MutualTlsTest, AnUnknownCertificateIsRefusedByTls) {
  const Credential other = *MakeAuthority(archive_);
  const Credential client =
      *IssueCertificate(other, {base::Role::kOperator, "somebody", archive_});
  api::v1::GetIndexStatusResponse response;
  EXPECT_EQ(Call(client, "127.0.0.1", &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(MutualTlsTest, AServersCertificateCannotCall) {
  EXPECT_EQ(CallAs(base::Role::kServer, archive_).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace diptych::pki
