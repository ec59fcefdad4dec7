#include "tools/diptych/profile.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"
#include "proto/api/v1/common.pb.h"
#include "tools/pki/pki.h"
#include "tools/pki/signing_key.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

void Write(const std::string& path, const std::string& content,
           mode_t mode = 0600) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << content;
  chmod(path.c_str(), mode);
}

class ProfileTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(dir_);
    const auto authority = pki::MakeAuthority(archive_id_);
    const auto client = pki::IssueCertificate(
        *authority, {base::Role::kAuditor, "auditor", archive_id_});
    Write(dir_ + "/profile/ca.crt", authority->certificate_pem);
    Write(dir_ + "/profile/client.crt", client->certificate_pem);
    Write(dir_ + "/profile/client.key", client->private_key_pem);
    Profile profile;
    profile.archive_id = archive_id_;
    profile.role = "auditor";
    profile.ingest_address = "10.0.0.1:1";
    profile.audit_address = "10.0.0.1:2";
    profile.archive_dir = dir_ + "/archive";
    Write(dir_ + "/profile/profile.json", ProfileJson(profile));
  }

  const std::string dir_ =
      absl::StrCat(std::getenv("TEST_TMPDIR"), "/profile_test");
  const base::Uuid archive_id_ = base::Uuid::Random();
};

TEST_F(ProfileTest, ReadsWhatWasWritten) {
  const auto profile = LoadProfile(dir_ + "/profile");
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->archive_id, archive_id_);
  EXPECT_EQ(profile->role, "auditor");
  EXPECT_EQ(profile->ingest_address, "10.0.0.1:1");
  EXPECT_EQ(profile->audit_address, "10.0.0.1:2");
  EXPECT_THAT(profile->ca_pem, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_THAT(profile->private_key_pem, HasSubstr("PRIVATE KEY"));
}

TEST_F(ProfileTest, ASourceKeyIsReadIfItIsThereAndPrivate) {
  EXPECT_TRUE(LoadProfile(dir_ + "/profile")->source_key_pem.empty());
  const auto key = pki::MakeSigningKey();
  Write(dir_ + "/profile/source.key", key->private_key_pem);
  EXPECT_EQ(LoadProfile(dir_ + "/profile")->source_key_pem,
            key->private_key_pem);
  chmod((dir_ + "/profile/source.key").c_str(), 0644);
  const absl::Status status = LoadProfile(dir_ + "/profile").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("source.key"));
}

TEST_F(ProfileTest, FollowsTheArchivesAddressFiles) {
  Write(dir_ + "/archive/run/audit.address", "127.0.0.1:45678\n");
  const auto profile = LoadProfile(dir_ + "/profile");
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->audit_address, "127.0.0.1:45678");
  EXPECT_EQ(profile->ingest_address, "10.0.0.1:1");
}

TEST_F(ProfileTest, DefaultPorts) {
  Write(dir_ + "/profile/profile.json",
        absl::StrCat("{\"archive_id\":\"", archive_id_.ToString(), "\"}"));
  const auto profile = LoadProfile(dir_ + "/profile");
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->ingest_address, "127.0.0.1:7443");
  EXPECT_EQ(profile->audit_address, "127.0.0.1:7444");
}

TEST_F(ProfileTest, NamesTheFileThatIsWrong) {
  const auto message = [&] {
    return std::string(LoadProfile(dir_ + "/profile").status().message());
  };
  EXPECT_EQ(LoadProfile(dir_ + "/nothing").status().code(),
            absl::StatusCode::kNotFound);
  chmod((dir_ + "/profile/client.key").c_str(), 0644);
  EXPECT_THAT(message(), HasSubstr("client.key"));
  fs::remove(dir_ + "/profile/ca.crt");
  EXPECT_THAT(message(), HasSubstr("ca.crt"));
  for (const char* json :
       {"", "[]", "{", "{\"archive_id\":7}", "{\"archive_id\":\"x\"}",
        "{\"archive_id\":\"018f3b5e-7a10-7c3d-9e21-0a1b2c3d4e5f\","
        "\"audit_address\":7444}"}) {
    Write(dir_ + "/profile/profile.json", json);
    EXPECT_EQ(LoadProfile(dir_ + "/profile").status().code(),
              absl::StatusCode::kInvalidArgument)
        << json;
    EXPECT_THAT(message(), HasSubstr("profile.json")) << json;
  }
}

TEST_F(ProfileTest, FlagBeatsEnvironment) {
  unsetenv("DIPTYCH_PROFILE");
  EXPECT_EQ(ProfileFolder("").status().code(),
            absl::StatusCode::kInvalidArgument);
  setenv("DIPTYCH_PROFILE", "/from/environment", 1);
  EXPECT_EQ(*ProfileFolder(""), "/from/environment");
  EXPECT_EQ(*ProfileFolder("/from/flag"), "/from/flag");
  unsetenv("DIPTYCH_PROFILE");
}

TEST_F(ProfileTest, ExplainsCallErrors) {
  const Profile profile = *LoadProfile(dir_ + "/profile");
  const absl::Status unreachable = ExplainCallError(
      absl::UnavailableError("failed to connect to all addresses; internals"),
      profile, "10.0.0.1:2");
  EXPECT_EQ(unreachable.code(), absl::StatusCode::kUnavailable);
  const std::string message(unreachable.message());
  EXPECT_THAT(message, HasSubstr("10.0.0.1:2"));
  EXPECT_THAT(message, testing::Not(HasSubstr("internals")));
  api::v1::ErrorDetail detail;
  detail.set_reason("WRITER_UNREACHABLE");
  const absl::Status own = base::MakeError(absl::StatusCode::kUnavailable,
                                           "no access record", detail);
  EXPECT_EQ(ExplainCallError(own, profile, "10.0.0.1:2"), own);
  EXPECT_THAT(std::string(ExplainCallError(absl::PermissionDeniedError("no"),
                                           profile, "10.0.0.1:2")
                              .message()),
              HasSubstr("role auditor"));
  EXPECT_TRUE(ExplainCallError(absl::OkStatus(), profile, "10.0.0.1:2").ok());
}

}  // namespace
}  // namespace diptych::cli
