#include "tools/diptych/profile.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "tools/pki/pki.h"

namespace diptych::cli {
namespace {

using Json = nlohmann::ordered_json;

// Servers of gRPC take pings more often than every five minutes for abuse.
constexpr int kKeepaliveTime_ms = 360'000;
constexpr int kKeepaliveTimeout_ms = 10'000;

// The member's text; `fallback` if it is missing.
absl::StatusOr<std::string> TextMember(const Json& json, const char* name,
                                       const std::string& fallback,
                                       const std::string& path) {
  const auto found = json.find(name);
  if (found == json.end()) return fallback;
  if (!found->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": \"", name, "\" must be a string"));
  }
  return found->get<std::string>();
}

// What the daemon wrote when it began to serve; `fallback` if it never did.
std::string AddressNow(const std::string& archive_dir, absl::string_view name,
                       const std::string& fallback) {
  if (archive_dir.empty()) return fallback;
  const absl::StatusOr<std::string> text =
      base::ReadWholeFile(absl::StrCat(archive_dir, "/run/", name, ".address"),
                          limits::kMaxAddressFile_bytes);
  if (!text.ok()) return fallback;
  const absl::string_view address = absl::StripAsciiWhitespace(*text);
  return address.empty() ? fallback : std::string(address);
}

}  // namespace

absl::StatusOr<std::string> ProfileFolder(const std::string& flag) {
  if (!flag.empty()) return flag;
  const char* from_environment = std::getenv("DIPTYCH_PROFILE");
  if (from_environment != nullptr && from_environment[0] != '\0') {
    return std::string(from_environment);
  }
  return absl::InvalidArgumentError(
      "no profile: name its folder with --profile or DIPTYCH_PROFILE (diptych "
      "init makes them in DIR/profiles)");
}

absl::StatusOr<Profile> LoadProfile(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/profile.json");
  const absl::StatusOr<std::string> text =
      base::ReadWholeFile(path, limits::kMaxProfileFile_bytes);
  if (!text.ok()) {
    return absl::Status(
        text.status().code(),
        absl::StrCat("no profile in ", folder, ": ", text.status().message()));
  }
  const Json json =
      Json::parse(*text, /*callback=*/nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " does not hold a JSON object"));
  }
  Profile profile;
  profile.folder = folder;
  ASSIGN_OR_RETURN(const std::string archive_id,
                   TextMember(json, "archive_id", "", path));
  const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(archive_id);
  if (!id.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": \"archive_id\" must be a UUID"));
  }
  profile.archive_id = *id;
  ASSIGN_OR_RETURN(profile.role, TextMember(json, "role", "", path));
  ASSIGN_OR_RETURN(profile.archive_dir,
                   TextMember(json, "archive_dir", "", path));
  ASSIGN_OR_RETURN(
      profile.ingest_address,
      TextMember(json, "ingest_address", kDefaultIngestAddress, path));
  ASSIGN_OR_RETURN(
      profile.audit_address,
      TextMember(json, "audit_address", kDefaultAuditAddress, path));
  profile.ingest_address =
      AddressNow(profile.archive_dir, "ingest", profile.ingest_address);
  profile.audit_address =
      AddressNow(profile.archive_dir, "audit", profile.audit_address);
  ASSIGN_OR_RETURN(profile.ca_pem,
                   base::ReadWholeFile(absl::StrCat(folder, "/ca.crt"),
                                       limits::kMaxPemFile_bytes));
  ASSIGN_OR_RETURN(profile.certificate_pem,
                   base::ReadWholeFile(absl::StrCat(folder, "/client.crt"),
                                       limits::kMaxPemFile_bytes));
  ASSIGN_OR_RETURN(profile.private_key_pem,
                   pki::ReadPrivateKeyPem(absl::StrCat(folder, "/client.key"),
                                          /*passphrase=*/std::nullopt));
  absl::StatusOr<std::string> source_key =
      pki::ReadPrivateKeyPem(absl::StrCat(folder, "/", kSourceKeyFile),
                             /*passphrase=*/std::nullopt);
  if (!source_key.ok() && !absl::IsNotFound(source_key.status())) {
    return source_key.status();
  }
  if (source_key.ok()) profile.source_key_pem = *std::move(source_key);
  return profile;
}

std::string ProfileJson(const Profile& profile) {
  const Json json = {{"archive_id", profile.archive_id.ToString()},
                     {"role", profile.role},
                     {"ingest_address", profile.ingest_address},
                     {"audit_address", profile.audit_address},
                     {"archive_dir", profile.archive_dir}};
  return absl::StrCat(
      json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace),
      "\n");
}

std::shared_ptr<grpc::Channel> Connect(const Profile& profile,
                                       const std::string& address) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = profile.ca_pem;
  options.pem_cert_chain = profile.certificate_pem;
  options.pem_private_key = profile.private_key_pem;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(limits::kMaxMessage_bytes);
  // A machine that vanished without a word must not hang a long read.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTime_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeout_ms);
  // An archive is reached directly: its traffic goes to no proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options),
                                   arguments);
}

absl::Status ExplainCallError(const absl::Status& status,
                              const Profile& profile,
                              absl::string_view address) {
  const auto replace = [&](const std::string& message) {
    absl::Status explained(status.code(), message);
    if (const auto detail = base::GetErrorDetail(status)) {
      return base::MakeError(status.code(), message, *detail);
    }
    return explained;
  };
  // A status with a detail comes from the archive itself and says enough.
  const bool from_archive = base::GetErrorDetail(status).has_value();
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      if (from_archive) return status;
      return replace(absl::StrCat(
          "nobody can be reached at ", address,
          " with this profile: check that diptychd runs there and that ",
          profile.folder, " belongs to its archive"));
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return replace(absl::StrCat(
          "the archive at ", address, " does not allow this to the profile ",
          profile.folder, " (role ", profile.role, "): ", status.message()));
    case absl::StatusCode::kCancelled:
      return absl::CancelledError("interrupted");
    case absl::StatusCode::kUnimplemented:
      return replace(absl::StrCat(
          "the daemon at ", address,
          " does not know this call: it is of another version, or serves "
          "another role"));
    default:
      return status;
  }
}

}  // namespace diptych::cli
