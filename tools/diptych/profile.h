#ifndef TOOLS_DIPTYCH_PROFILE_H_
#define TOOLS_DIPTYCH_PROFILE_H_

#include <memory>
#include <optional>
#include <string>

#include <grpcpp/channel.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"

namespace diptych::cli {

inline constexpr char kDefaultIngestAddress[] = "127.0.0.1:7443";
inline constexpr char kDefaultAuditAddress[] = "127.0.0.1:7444";
// In a gateway's profile.
inline constexpr char kSourceKeyFile[] = "source.key";

// A profile folder: profile.json, ca.crt, client.crt, client.key (PEM), and, of
// a gateway, source.key.
struct Profile {
  std::string folder;
  base::Uuid archive_id;
  // "gateway", "auditor", "operator" or "witness".
  std::string role;
  // host:port.
  std::string ingest_address;
  std::string audit_address;
  // The archive's data folder if it is on this machine; else empty.
  std::string archive_dir;
  std::string ca_pem;
  std::string certificate_pem;
  std::string private_key_pem;
  // With which a gateway signs what it sent: PEM, Ed25519; empty if the profile
  // has none.
  std::string source_key_pem;
};

// The folder that --profile (if given) or DIPTYCH_PROFILE names.
// INVALID_ARGUMENT if neither does.
absl::StatusOr<std::string> ProfileFolder(const std::string& flag);

// Reads a profile. Where archive_dir/run/{ingest,audit}.address exists, it
// takes the place of the profile's own address. NOT_FOUND if there is no such
// folder; messages name the file that is wrong.
absl::StatusOr<Profile> LoadProfile(const std::string& folder);

// profile.json's text.
std::string ProfileJson(const Profile& profile);

// A channel with mutual TLS to `address`. Does not wait for the connection.
// Messages of up to limits::kMaxMessage_bytes may be received.
std::shared_ptr<grpc::Channel> Connect(const Profile& profile,
                                       const std::string& address);

// For the status of a failed call to `address`: says in one sentence what to do
// next where that is known (nobody answers there: the address; not allowed: the
// profile's role). Keeps code and ErrorDetail.
absl::Status ExplainCallError(const absl::Status& status,
                              const Profile& profile,
                              absl::string_view address);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_PROFILE_H_
