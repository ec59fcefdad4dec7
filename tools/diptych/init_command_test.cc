#include "tools/diptych/init_command.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/seal/key_file.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"
#include "tools/diptych/profile.h"
#include "tools/pki/pki.h"
#include "tools/pki/signing_key.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// "MODE PATH" of everything under `root`, sorted by path.
std::vector<std::string> Tree(const std::string& root) {
  std::vector<std::string> lines;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    struct stat info = {};
    lstat(entry.path().c_str(), &info);
    lines.push_back(
        absl::StrCat(entry.path().lexically_relative(root).string(),
                     entry.is_directory() ? "/" : "", " ",
                     absl::StrFormat("%04o", info.st_mode & 07777)));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

class InitCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }

  absl::StatusOr<ExitCode> Init(const InitOptions& options, bool json = false) {
    data_.str("");
    messages_.str("");
    Output output({.json = json}, &data_, &messages_);
    return RunInit({&output, &interrupt_, ""}, options);
  }

  Interrupt interrupt_;
  const std::string root_ =
      absl::StrCat(std::getenv("TEST_TMPDIR"), "/init_test");
  const std::string dir_ = root_ + "/archive";
  const std::string keys_ = dir_ + ".keys";
  std::ostringstream data_;
  std::ostringstream messages_;
};

TEST_F(InitCommandTest, MakesExactlyTheseFiles) {
  const mode_t before = umask(0);
  const auto result = Init({.data_dir = dir_});
  umask(before);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(
      Tree(dir_),
      ElementsAre(
          "archive.textproto 0640",  //
          "keystore/ 0750",          //
          "lost+found/ 0750",        //
          "profiles/ 0750",          //
          "profiles/auditor/ 0700", "profiles/auditor/ca.crt 0600",
          "profiles/auditor/client.crt 0600",
          "profiles/auditor/client.key 0600",
          "profiles/auditor/profile.json 0600", "profiles/gateway/ 0700",
          "profiles/gateway/ca.crt 0600", "profiles/gateway/client.crt 0600",
          "profiles/gateway/client.key 0600",
          "profiles/gateway/profile.json 0600",
          "profiles/gateway/source.key 0600", "profiles/operator/ 0700",
          "profiles/operator/ca.crt 0600", "profiles/operator/client.crt 0600",
          "profiles/operator/client.key 0600",
          "profiles/operator/profile.json 0600", "profiles/witness/ 0700",
          "profiles/witness/ca.crt 0600", "profiles/witness/client.crt 0600",
          "profiles/witness/client.key 0600",
          "profiles/witness/profile.json 0600",
          "run/ 0750",            //
          "tls/ 0700",            //
          "tls/ca.crt 0644",      //
          "tls/ingest.crt 0644",  //
          "tls/ingest.key 0600",  //
          "tls/log.key 0600",     //
          "volumes/ 0750"));
  EXPECT_THAT(Tree(keys_), ElementsAre("audit-server.crt 0644",    //
                                       "audit-server.key 0600",    //
                                       "audit.key 0600",           //
                                       "ca.key 0600",              //
                                       "escrow.key 0600",          //
                                       "index.key 0600",           //
                                       "indexer-client.crt 0644",  //
                                       "indexer-client.key 0600"));
  struct stat info = {};
  stat(keys_.c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  EXPECT_THAT(messages_.str(), HasSubstr("not encrypted"));
}

TEST_F(InitCommandTest, RecipientsAreThoseOfTheKeyFiles) {
  ASSERT_TRUE(Init({.data_dir = dir_}).ok());
  const auto config = seal::ReadArchiveConfig(dir_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->suite(), 1u);
  ASSERT_EQ(config->recipients_size(), 3);
  const auto check = [&](int i, const std::string& name,
                         std::vector<int> classes) {
    const stored::v1::Recipient& recipient = config->recipients(i);
    EXPECT_EQ(recipient.name(), name);
    EXPECT_THAT(recipient.classes(), testing::ElementsAreArray(classes));
    const auto key = seal::ReadKeyFile(keys_, name, std::nullopt);
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ(key->public_key, recipient.public_key());
  };
  check(0, "index", {stored::v1::KEY_CLASS_METADATA});
  check(1, "audit",
        {stored::v1::KEY_CLASS_MEDIA, stored::v1::KEY_CLASS_METADATA});
  check(2, "escrow", {stored::v1::KEY_CLASS_MEDIA});
}

TEST_F(InitCommandTest, SigningKeysAreThoseOfTheConfiguration) {
  ASSERT_TRUE(Init({.data_dir = dir_}).ok());
  const auto config = seal::ReadArchiveConfig(dir_);
  ASSERT_TRUE(config.ok()) << config.status();
  const std::string origin = absl::StrCat(
      "diptych/", base::Uuid::FromBytes(config->archive_id())->ToString());
  const auto public_key = [&](const std::string& path) {
    return pki::ParseSigningKey(Content(dir_ + path))->public_key;
  };
  EXPECT_EQ(config->log_key().name(), origin);
  EXPECT_EQ(config->log_key().public_key(), public_key("/tls/log.key"));
  ASSERT_EQ(config->sources_size(), 1);
  EXPECT_EQ(config->sources(0).name(), origin + "/gateway/gateway");
  EXPECT_EQ(config->sources(0).public_key(),
            public_key("/profiles/gateway/source.key"));
  EXPECT_NE(config->sources(0).public_key(), config->log_key().public_key());
  EXPECT_EQ(config->witnesses_size(), 0);
}

TEST_F(InitCommandTest, ProfilesLoadAndFollowTheArchive) {
  ASSERT_TRUE(Init({.data_dir = dir_}).ok());
  std::ofstream(dir_ + "/run/audit.address") << "127.0.0.1:9\n";
  for (const char* role : {"gateway", "auditor", "operator", "witness"}) {
    const auto profile = LoadProfile(absl::StrCat(dir_, "/profiles/", role));
    ASSERT_TRUE(profile.ok()) << profile.status();
    EXPECT_EQ(profile->role, role);
    EXPECT_EQ(profile->audit_address, "127.0.0.1:9");
    EXPECT_EQ(profile->ingest_address, "127.0.0.1:7443");
    EXPECT_EQ(profile->ca_pem, Content(dir_ + "/tls/ca.crt"));
    EXPECT_EQ(profile->source_key_pem.empty(),
              absl::string_view(role) != "gateway");
  }
}

TEST_F(InitCommandTest, APassphraseEncryptsEveryPrivateKeyOfTheKeyFolder) {
  std::ofstream(root_ + "/passphrase") << "correct horse\n";
  const auto result =
      Init({.data_dir = dir_, .passphrase_file = root_ + "/passphrase"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(messages_.str(), Not(HasSubstr("not encrypted")));
  for (const char* name : {"ca", "audit-server", "indexer-client"}) {
    const std::string path = absl::StrCat(keys_, "/", name, ".key");
    EXPECT_EQ(pki::ReadPrivateKeyPem(path, std::nullopt).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(pki::ReadPrivateKeyPem(path, "correct horse").ok());
  }
  for (const char* name : {"index", "audit", "escrow"}) {
    EXPECT_FALSE(seal::ReadKeyFile(keys_, name, std::nullopt).ok());
  }
  // One is enough: each costs Argon2id its time.
  EXPECT_TRUE(seal::ReadKeyFile(keys_, "audit", "correct horse").ok());
}

TEST_F(InitCommandTest, TakesEmptyFoldersAndRefusesOthers) {
  fs::create_directories(dir_);
  fs::create_directories(root_ + "/k");
  ASSERT_TRUE(Init({.data_dir = dir_ + "/", .keys_dir = root_ + "/k"}).ok());
  EXPECT_TRUE(fs::exists(root_ + "/k/audit.key"));
  const std::vector<std::string> before = Tree(dir_);
  EXPECT_EQ(Init({.data_dir = dir_}).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Tree(dir_), before);
  EXPECT_FALSE(fs::exists(keys_));
  EXPECT_EQ(Init({.data_dir = root_ + "/second", .keys_dir = root_ + "/k"})
                .status()
                .code(),
            absl::StatusCode::kAlreadyExists);
  std::ofstream(root_ + "/file") << "x";
  EXPECT_EQ(Init({.data_dir = root_ + "/file"}).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Content(root_ + "/file"), "x");
}

TEST_F(InitCommandTest, KeysMustLieOutsideTheData) {
  for (const std::string& keys :
       {dir_, dir_ + "/keys", dir_ + "/../archive/k"}) {
    EXPECT_EQ(Init({.data_dir = dir_, .keys_dir = keys}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << keys;
  }
  EXPECT_FALSE(fs::exists(dir_));
}

TEST_F(InitCommandTest, FailsWholeWithoutItsPassphrase) {
  EXPECT_FALSE(
      Init({.data_dir = dir_, .passphrase_file = root_ + "/none"}).ok());
  EXPECT_FALSE(fs::exists(dir_));
  EXPECT_FALSE(fs::exists(keys_));
}

TEST_F(InitCommandTest, JsonEndsWithASummary) {
  ASSERT_TRUE(Init({.data_dir = dir_}, /*json=*/true).ok());
  std::vector<std::string> lines;
  std::istringstream stream(data_.str());
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 5u);
  const Json last = Json::parse(lines.back());
  EXPECT_EQ(last["message_type"], "summary");
  EXPECT_EQ(last["data_dir"], dir_);
  EXPECT_EQ(last["keys_dir"], keys_);
  EXPECT_EQ(last["encrypted"], false);
  EXPECT_EQ(base::Uuid::Parse(last["archive_id"].get<std::string>())->bytes(),
            seal::ReadArchiveConfig(dir_)->archive_id());
}

}  // namespace
}  // namespace diptych::cli
