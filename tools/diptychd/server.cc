#include "tools/diptychd/server.h"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/support/interceptor.h>
#include <grpcpp/support/server_interceptor.h>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"

namespace diptych::daemon {

// Calls that have said what they want, and are not done.
class CallsAtHand {
 public:
  void Begin() ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    ++count_;
  }
  void End() ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    if (--count_ == 0) none_.NotifyAll();
  }
  void WaitUntilNone(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::Duration deadline = base::Clock::Real()->Monotonic() + timeout;
    base::MutexLock lock(&mutex_);
    while (count_ > 0) {
      const absl::Duration left = deadline - base::Clock::Real()->Monotonic();
      if (left <= absl::ZeroDuration()) return;
      none_.WaitWithTimeout(&mutex_, left);
    }
  }

 private:
  base::Mutex mutex_;
  base::CondVar none_;
  int64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

namespace {

namespace interception = grpc::experimental;

// What is left after the calls at hand: telling clients that the connection
// ends.
constexpr absl::Duration kGoodbye = absl::Milliseconds(250);

// One call's; gone when the call is.
class CallCounter final : public interception::Interceptor {
 public:
  explicit CallCounter(std::shared_ptr<CallsAtHand> calls)
      : calls_(std::move(calls)) {}
  ~CallCounter() override {
    if (counted_) calls_->End();
  }
  void Intercept(interception::InterceptorBatchMethods* methods) override {
    if (!counted_ &&
        methods->QueryInterceptionHookPoint(
            interception::InterceptionHookPoints::POST_RECV_MESSAGE)) {
      counted_ = true;
      calls_->Begin();
    }
    methods->Proceed();
  }

 private:
  const std::shared_ptr<CallsAtHand> calls_;
  // Only touched by the call's own operations, of which the first read is one.
  bool counted_ = false;
};

class CallCounterFactory final
    : public interception::ServerInterceptorFactoryInterface {
 public:
  explicit CallCounterFactory(std::shared_ptr<CallsAtHand> calls)
      : calls_(std::move(calls)) {}
  interception::Interceptor* CreateServerInterceptor(
      interception::ServerRpcInfo* info) override {
    // Health and reflection.
    if (absl::StartsWith(info->method(), "/grpc.")) return nullptr;
    return new CallCounter(calls_);
  }

 private:
  const std::shared_ptr<CallsAtHand> calls_;
};

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
  std::vector<std::unique_ptr<interception::ServerInterceptorFactoryInterface>>
      interceptors;
  interceptors.push_back(std::make_unique<CallCounterFactory>(server->calls_));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
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

RpcServer::RpcServer() : calls_(std::make_shared<CallsAtHand>()) {}

RpcServer::~RpcServer() { Stop(absl::ZeroDuration()); }

void RpcServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
}

void RpcServer::Stop(absl::Duration grace) {
  if (server_ == nullptr) return;
  unlink(address_file_.c_str());
  calls_->WaitUntilNone(grace);
  server_->Shutdown(absl::ToChronoTime(absl::Now() + kGoodbye));
  server_->Wait();
  server_.reset();
}

}  // namespace diptych::daemon
