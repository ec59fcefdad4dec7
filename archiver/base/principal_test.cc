#include "archiver/base/principal.h"

#include <string>

#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"

namespace diptych::base {
namespace {

constexpr char kArchive[] = "018f3b5e-7a10-7c3d-9e21-0a1b2c3d4e5f";

TEST(PrincipalTest, UriThereAndBack) {
  for (const Role role : {Role::kGateway, Role::kAuditor, Role::kOperator,
                          Role::kIndexer, Role::kServer}) {
    const Principal principal = {role, "desk-7.a_b", *Uuid::Parse(kArchive)};
    EXPECT_EQ(principal.ToUri(), absl::StrCat("diptych://", kArchive, "/",
                                              RoleName(role), "/desk-7.a_b"));
    const auto back = Principal::FromUri(principal.ToUri());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->role, role);
    EXPECT_EQ(back->name, principal.name);
    EXPECT_EQ(back->archive_id, principal.archive_id);
  }
}

TEST(PrincipalTest, RefusesOtherUris) {
  const std::string base = absl::StrCat("diptych://", kArchive);
  for (const std::string& uri : {
           std::string(),
           std::string("https://example.org/"),
           base,
           base + "/gateway",
           base + "/gateway/",
           base + "/gateway/a/b",
           base + "/admin/a",
           base + "/Gateway/a",
           base + "/gateway/a b",
           base + "/gateway/a\n",
           base + "/gateway/" + std::string(65, 'a'),
           std::string("diptych://nothing/gateway/a"),
           std::string("DIPTYCH://") + kArchive + "/gateway/a",
       }) {
    EXPECT_EQ(Principal::FromUri(uri).status().code(),
              absl::StatusCode::kInvalidArgument)
        << uri;
  }
}

TEST(PrincipalTest, CallWithoutCertificateIsUnauthenticated) {
  const grpc::ServerContext context;
  EXPECT_EQ(PrincipalOf(context).status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(RequireRole(context, *Uuid::Parse(kArchive), {Role::kGateway})
                .status()
                .code(),
            absl::StatusCode::kUnauthenticated);
}

}  // namespace
}  // namespace diptych::base
