#ifndef ARCHIVER_BASE_PRINCIPAL_H_
#define ARCHIVER_BASE_PRINCIPAL_H_

#include <initializer_list>
#include <string>

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"

namespace diptych::base {

enum class Role { kGateway, kAuditor, kOperator, kIndexer, kServer, kWitness };

absl::string_view RoleName(Role role);
absl::StatusOr<Role> ParseRole(absl::string_view name);

// Who a client certificate says it belongs to.
struct Principal {
  Role role;
  std::string name;
  base::Uuid archive_id;

  // The URI in the certificate's subject alternative name:
  // diptych://ARCHIVE-UUID/ROLE/NAME.
  std::string ToUri() const;
  static absl::StatusOr<Principal> FromUri(absl::string_view uri);
};

// The principal of a call's verified client certificate. UNAUTHENTICATED if it
// has none, or one without exactly one diptych URI.
absl::StatusOr<Principal> PrincipalOf(const grpc::ServerContextBase& context);

// The same, and PERMISSION_DENIED unless its role is one of `allowed` and its
// archive is `archive_id`.
absl::StatusOr<Principal> RequireRole(const grpc::ServerContextBase& context,
                                      const base::Uuid& archive_id,
                                      std::initializer_list<Role> allowed);

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_PRINCIPAL_H_
