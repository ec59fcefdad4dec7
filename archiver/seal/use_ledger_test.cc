#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

using log::RecordType;
using stored::v1::KEY_CLASS_MEDIA;
using stored::v1::KEY_CLASS_METADATA;

struct Line {
  std::string event;
  std::string key;
  // Of the purpose or of the nonce.
  std::string other;
};

class UseLedgerTest : public testing::Test {
 protected:
  UseLedgerTest() : path_(absl::StrCat(testing::TempDir(), "/key_ledger")) {
    std::filesystem::remove(path_);
    setenv("DIPTYCH_KEY_LEDGER", path_.c_str(), /*overwrite=*/1);
    config_.set_archive_id(std::string(archive_.bytes()));
    config_.set_suite(1);
    stored::v1::Recipient* recipient = config_.add_recipients();
    recipient->set_name("audit");
    recipient->set_public_key(audit_.public_key);
    recipient->add_classes(KEY_CLASS_MEDIA);
    recipient->add_classes(KEY_CLASS_METADATA);
  }
  ~UseLedgerTest() override { unsetenv("DIPTYCH_KEY_LEDGER"); }

  std::vector<Line> Lines(const std::string& event) const {
    std::vector<Line> found;
    std::ifstream file(path_);
    for (std::string text; std::getline(file, text);) {
      std::istringstream words(text);
      Line line;
      words >> line.event >> line.key >> line.other;
      if (line.event == event) found.push_back(line);
    }
    return found;
  }

  const std::string path_;
  const base::Uuid archive_ = base::Uuid::Random();
  const KeyPair audit_ = KeyPair::Generate("audit");
  stored::v1::ArchiveConfig config_;
};

std::set<std::string> Keys(const std::vector<Line>& lines) {
  std::set<std::string> keys;
  for (const Line& line : lines) keys.insert(line.key);
  return keys;
}

TEST_F(UseLedgerTest, EveryKeyOfASessionIsNamedBeforeItIsUsed) {
  auto sealer =
      SessionSealer::Create(config_, base::Uuid::Random(), /*epoch=*/7,
                            /*first_segment=*/3);
  ASSERT_TRUE(sealer.ok());
  sealer->Seal(KEY_CLASS_MEDIA, RecordType::kChunk, "head", "picture");
  sealer->Seal(KEY_CLASS_MEDIA, RecordType::kChunk, "head", "picture");
  sealer->NextSegment();
  sealer->Seal(KEY_CLASS_METADATA, RecordType::kNotes, "head", "tags");

  // Two roots, and two keys for each of two segments.
  const std::vector<Line> made = Lines("once");
  ASSERT_EQ(made.size(), 6U);
  EXPECT_EQ(Keys(made).size(), 6U);
  std::set<std::string> purposes;
  for (const Line& line : made) purposes.insert(line.other);
  EXPECT_EQ(purposes.size(), 6U);

  const std::vector<Line> used = Lines("seal");
  ASSERT_EQ(used.size(), 3U);
  EXPECT_EQ(used[0].key, used[1].key);
  EXPECT_NE(used[0].other, used[1].other);
  EXPECT_NE(used[0].key, used[2].key);
  for (const Line& line : used) EXPECT_TRUE(Keys(made).contains(line.key));
}

TEST_F(UseLedgerTest, EnvelopesAndTheIndexAreInIt) {
  ASSERT_TRUE(
      SealEnvelope(config_, KEY_CLASS_METADATA, "context", "who reads").ok());
  EXPECT_EQ(Lines("once").size(), 1U);
  EXPECT_EQ(Keys(Lines("seal")), Keys(Lines("once")));

  // The same keys each time, for the same purposes.
  IndexKeys::Derive(audit_).SealRow("row", "text");
  IndexKeys::Derive(audit_).SealPageToken("row", "text");
  const std::vector<Line> standing = Lines("standing");
  ASSERT_EQ(standing.size(), 4U);
  EXPECT_EQ(Keys(standing).size(), 2U);
  EXPECT_EQ(Keys(Lines("seal")).size(), 3U);
}

TEST_F(UseLedgerTest, NothingOfAKeyIsInIt) {
  auto sealer = SessionSealer::Create(config_, base::Uuid::Random(), 1, 0);
  ASSERT_TRUE(sealer.ok());
  const std::string body =
      sealer->Seal(KEY_CLASS_MEDIA, RecordType::kChunk, "head", "picture");
  std::ifstream file(path_);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str().find(body.substr(0, 24)), std::string::npos);
  for (const Line& line : Lines("once")) EXPECT_EQ(line.key.size(), 64U);
}

TEST_F(UseLedgerTest, WithoutTheVariableNothingIsWritten) {
  unsetenv("DIPTYCH_KEY_LEDGER");
  ASSERT_TRUE(SealEnvelope(config_, KEY_CLASS_METADATA, "c", "text").ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace diptych::seal
