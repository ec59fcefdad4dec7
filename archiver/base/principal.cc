#include "archiver/base/principal.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"

namespace diptych::base {
namespace {

constexpr absl::string_view kScheme = "diptych://";
constexpr size_t kMaxName_bytes = 64;

constexpr std::array<std::pair<Role, absl::string_view>, 6> kRoles = {{
    {Role::kGateway, "gateway"},
    {Role::kAuditor, "auditor"},
    {Role::kOperator, "operator"},
    {Role::kIndexer, "indexer"},
    {Role::kServer, "server"},
    {Role::kWitness, "witness"},
}};

// Names go into records and log lines: nothing that would need quoting there.
bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxName_bytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

absl::string_view RoleName(Role role) {
  for (const auto& [known, name] : kRoles) {
    if (known == role) return name;
  }
  return "unknown";
}

absl::StatusOr<Role> ParseRole(absl::string_view name) {
  for (const auto& [role, known] : kRoles) {
    if (known == name) return role;
  }
  return absl::InvalidArgumentError(
      "no such role: use gateway, auditor, operator, indexer or server");
}

std::string Principal::ToUri() const {
  return absl::StrCat(kScheme, archive_id.ToString(), "/", RoleName(role), "/",
                      name);
}

absl::StatusOr<Principal> Principal::FromUri(absl::string_view uri) {
  if (!absl::StartsWith(uri, kScheme)) {
    return absl::InvalidArgumentError("not a diptych:// URI");
  }
  const std::vector<absl::string_view> parts =
      absl::StrSplit(uri.substr(kScheme.size()), '/');
  if (parts.size() != 3) {
    return absl::InvalidArgumentError(
        "a principal's URI is diptych://ARCHIVE/ROLE/NAME");
  }
  Principal principal;
  ASSIGN_OR_RETURN(principal.archive_id, Uuid::Parse(parts[0]));
  ASSIGN_OR_RETURN(principal.role, ParseRole(parts[1]));
  if (!IsName(parts[2])) {
    return absl::InvalidArgumentError(
        "a principal's name is 1 to 64 letters, digits, '-', '_' or '.'");
  }
  principal.name = std::string(parts[2]);
  return principal;
}

absl::StatusOr<Principal> PrincipalOf(const grpc::ServerContextBase& context) {
  const auto auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) {
    return absl::UnauthenticatedError(
        "this call needs a client certificate of this archive");
  }
  std::optional<Principal> found;
  for (const grpc::string_ref& value :
       auth->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME)) {
    const absl::string_view name(value.data(), value.size());
    if (!absl::StartsWith(name, kScheme)) continue;
    if (found.has_value()) {
      return absl::UnauthenticatedError(
          "the client certificate names more than one principal");
    }
    absl::StatusOr<Principal> principal = Principal::FromUri(name);
    if (!principal.ok()) {
      return absl::UnauthenticatedError(
          absl::StrCat("the client certificate's principal can't be read: ",
                       principal.status().message()));
    }
    found = *std::move(principal);
  }
  if (!found.has_value()) {
    return absl::UnauthenticatedError(
        "the client certificate names no principal "
        "(diptych://ARCHIVE/ROLE/NAME as alternative name)");
  }
  return *std::move(found);
}

absl::StatusOr<Principal> RequireRole(const grpc::ServerContextBase& context,
                                      const base::Uuid& archive_id,
                                      std::initializer_list<Role> allowed) {
  ASSIGN_OR_RETURN(Principal principal, PrincipalOf(context));
  if (principal.archive_id != archive_id) {
    return absl::PermissionDeniedError(
        "the client certificate is for another archive");
  }
  if (std::find(allowed.begin(), allowed.end(), principal.role) ==
      allowed.end()) {
    return absl::PermissionDeniedError(
        absl::StrCat("a certificate with the role ", RoleName(principal.role),
                     " may not make this call"));
  }
  return principal;
}

}  // namespace diptych::base
