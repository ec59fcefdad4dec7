#include "tools/diptychd/server.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/status_macros.h"

namespace diptych::daemon {
namespace {

// Readers of the file see the old address or the new one, never half of one.
absl::Status WriteAddressFile(const std::string& path,
                              const std::string& address) {
  const std::string temporary = absl::StrCat(path, ".", getpid());
  unlink(temporary.c_str());
  RETURN_IF_ERROR(base::FileSystem::Real()->WriteFile(
      temporary, absl::StrCat(address, "\n")));
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

}  // namespace

void RequireTls13() {
  setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384",
         /*overwrite=*/1);
}

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(
    const Options& options) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::SslServerCredentialsOptions tls(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = options.identity.ca_pem;
  tls.pem_key_cert_pairs.push_back(
      {options.identity.private_key_pem, options.identity.certificate_pem});

  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.listen, grpc::SslServerCredentials(tls),
                           &port);
  for (grpc::Service* service : options.services) {
    builder.RegisterService(service);
  }
  builder.SetMaxReceiveMessageSize(options.max_receive_message_bytes);
  // A second daemon on the same port is an error, not a partner.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Finds peers that went away without a word.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  grpc::ResourceQuota quota;
  quota.SetMaxThreads(options.max_threads);
  builder.SetResourceQuota(quota);

  auto server = absl::WrapUnique(new RpcServer);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.listen,
                     "; is another daemon running, or is the port taken?"));
  }
  const absl::string_view listen = options.listen;
  server->address_ =
      absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
  server->address_file_ = options.address_file;
  RETURN_IF_ERROR(WriteAddressFile(options.address_file, server->address_));
  return server;
}

RpcServer::~RpcServer() { Stop(absl::ZeroDuration()); }

void RpcServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
}

void RpcServer::Stop(absl::Duration grace) {
  if (server_ == nullptr) return;
  unlink(address_file_.c_str());
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
  server_.reset();
}

}  // namespace diptych::daemon
