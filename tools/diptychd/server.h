#ifndef TOOLS_DIPTYCHD_SERVER_H_
#define TOOLS_DIPTYCHD_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace diptych::daemon {

// PEM: this side's certificate and key, and the authority that both sides
// trust.
struct TlsIdentity {
  std::string ca_pem;
  std::string certificate_pem;
  std::string private_key_pem;
};

// To be called before gRPC is used at all: leaves TLS 1.2 no cipher suite that
// fits our ECDSA certificates, so that only TLS 1.3 connects (gRPC 1.51 has no
// setting for it).
void RequireTls13();

class CallsAtHand;

// A gRPC server with mutual TLS, health and reflection. Its address is in a
// file while it serves.
class RpcServer {
 public:
  struct Options {
    // host:port; port 0 takes a free one.
    std::string listen;
    std::string address_file;
    TlsIdentity identity;
    std::vector<grpc::Service*> services;
    int max_receive_message_bytes = 0;
    int max_threads = 0;
  };

  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(
      const Options& options);
  ~RpcServer();

  // host:port, with the real port.
  const std::string& address() const { return address_; }

  void SetServing(bool serving);

  // Waits until `grace` for the calls at hand, and ends what is left. Calls
  // that have asked for nothing yet, and watches of the health service, are not
  // waited for: their clients may hold them for ever.
  void Stop(absl::Duration grace);

 private:
  RpcServer();

  std::string address_;
  std::string address_file_;
  // Told of by the server's calls.
  const std::shared_ptr<CallsAtHand> calls_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace diptych::daemon

#endif  // TOOLS_DIPTYCHD_SERVER_H_
