#include "archiver/seal/key_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

using testing::HasSubstr;

class KeyFilesTest : public testing::Test {
 protected:
  KeyFilesTest()
      : folder_(absl::StrCat(testing::TempDir(), "/key_file_test.", getpid())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~KeyFilesTest() override { std::filesystem::remove_all(folder_); }

  std::string Content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  static absl::StatusOr<KeyPair> Parse(std::string text) {
    return ParseKeyFile(SecretText(std::move(text)), "here", "audit",
                        std::nullopt);
  }

  const std::string folder_;
};

// Our own writing and reading of the private line is what protobuf reads and
// writes, whatever bytes a key has.
TEST_F(KeyFilesTest, IsTheTextThatProtobufKnows) {
  for (int i = 0; i < 200; ++i) {
    const KeyPair key = KeyPair::Generate("audit");
    const std::string path = absl::StrCat(folder_, "/", i, ".key");
    ASSERT_TRUE(WriteKeyFileTo(path, key, std::nullopt).ok());
    stored::v1::PrivateKeyFile file;
    ASSERT_TRUE(
        google::protobuf::TextFormat::ParseFromString(Content(path), &file));
    EXPECT_EQ(file.private_key(), key.private_key.bytes());
    std::string printed;
    ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(file, &printed));
    const auto parsed = Parse(printed);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->private_key.bytes(), key.private_key.bytes());
    EXPECT_EQ(parsed->public_key, key.public_key);
  }
}

TEST_F(KeyFilesTest, RefusesWhatIsNoKeyFile) {
  const KeyPair key = KeyPair::Generate("audit");
  const std::string path = absl::StrCat(folder_, "/audit.key");
  ASSERT_TRUE(WriteKeyFileTo(path, key, std::nullopt).ok());
  const std::string good = Content(path);
  ASSERT_TRUE(Parse(good).ok());
  const size_t line = good.find("private_key: \"");
  ASSERT_NE(line, std::string::npos);
  for (const std::string& bad :
       {std::string(), std::string("hello"), std::string(1000, '\\'),
        good.substr(0, line), good.substr(0, good.size() - 10),
        good.substr(0, line) + "private_key: \"\"\n",
        good.substr(0, line) + "private_key: \"\\400\\400\"\n",
        good.substr(0, line) + "private_key: \"" + std::string(31, 'x') +
            "\"\n",
        good.substr(0, line) + "private_key: \"" + std::string(33, 'x') +
            "\"\n",
        // A key, but not this public key's.
        good.substr(0, line) + "private_key: \"" + std::string(32, 'x') +
            "\"\n"}) {
    const auto parsed = Parse(bad);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kFailedPrecondition)
        << parsed.status();
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("here"));
  }
  EXPECT_EQ(
      ParseKeyFile(SecretText(std::string(good)), "here", "index", std::nullopt)
          .status()
          .code(),
      absl::StatusCode::kFailedPrecondition);
}

TEST_F(KeyFilesTest, AWrittenFileIsWholeOrNotThere) {
  const KeyPair key = KeyPair::Generate("audit");
  const std::string path = absl::StrCat(folder_, "/audit.key");
  // What a crash in the middle left.
  std::ofstream(path + ".new") << "name: ";
  ASSERT_TRUE(WriteKeyFile(folder_, key, std::nullopt).ok());
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  const std::string before = Content(path);
  EXPECT_FALSE(
      WriteKeyFile(folder_, KeyPair::Generate("audit"), std::nullopt).ok());
  EXPECT_EQ(Content(path), before);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
}

TEST_F(KeyFilesTest, FindsTheOtherKeysOfAName) {
  const KeyPair current = KeyPair::Generate("audit");
  const KeyPair old = KeyPair::Generate("audit");
  const KeyPair older = KeyPair::Generate("audit");
  const KeyPair index = KeyPair::Generate("index");
  ASSERT_TRUE(WriteKeyFile(folder_, current, std::nullopt).ok());
  for (const KeyPair* key : {&old, &index}) {
    ASSERT_TRUE(
        WriteKeyFileTo(OtherKeyPath(folder_, key->name, key->public_key), *key,
                       std::nullopt)
            .ok());
  }
  ASSERT_TRUE(WriteKeyFileTo(OtherKeyPath(folder_, "audit", older.public_key),
                             older, "open sesame")
                  .ok());
  // Neither is one of them.
  std::ofstream(absl::StrCat(folder_, "/audit-server.key")) << "PEM";
  std::ofstream(absl::StrCat(folder_, "/audit-12345678.key.new")) << "x";

  std::vector<absl::Status> left_out;
  auto keys = ReadOtherKeyFiles(folder_, "audit", std::nullopt, &left_out);
  ASSERT_TRUE(keys.ok());
  ASSERT_EQ(keys->size(), 1u);
  EXPECT_EQ(keys->front().public_key, old.public_key);
  ASSERT_EQ(left_out.size(), 1u);
  EXPECT_THAT(std::string(left_out[0].message()),
              HasSubstr("needs a passphrase"));

  left_out.clear();
  keys = ReadOtherKeyFiles(folder_, "audit", "open sesame", &left_out);
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(keys->size(), 2u);
  EXPECT_TRUE(left_out.empty());
  keys =
      ReadOtherKeyFiles(folder_ + "/absent", "audit", std::nullopt, &left_out);
  EXPECT_TRUE(keys.ok() && keys->empty());
}

TEST_F(KeyFilesTest, AConfigurationIsReplacedWhole) {
  stored::v1::ArchiveConfig config;
  config.set_archive_id(std::string(16, 'a'));
  config.set_suite(1);
  ASSERT_TRUE(WriteArchiveConfig(folder_, config).ok());
  config.add_recipients()->set_name("audit");
  // What a crash in the middle left.
  std::ofstream(folder_ + "/archive.textproto.new") << "archive";
  ASSERT_TRUE(ReplaceArchiveConfig(folder_, config).ok());
  EXPECT_EQ(ReadArchiveConfig(folder_)->recipients(0).name(), "audit");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/archive.textproto.new"));
}

}  // namespace
}  // namespace diptych::seal
