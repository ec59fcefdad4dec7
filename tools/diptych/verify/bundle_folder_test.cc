#include "tools/diptych/verify/bundle_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/sha256.h"

namespace diptych::verify {
namespace {

namespace fs = std::filesystem;

class BundleFolderTest : public testing::Test {
 protected:
  BundleFolderTest() : root_(fs::path(testing::TempDir()) / "bundle") {
    fs::remove_all(root_);
    fs::create_directories(root_ / "data");
    Write("outside", "secret");
    Write("bundle/data/a", "one");
    folder_ = *BundleFolder::Open(root_.string());
  }

  void Write(const std::string& path, const std::string& text) const {
    std::ofstream(root_.parent_path() / path) << text;
  }

  const fs::path root_;
  std::unique_ptr<BundleFolder> folder_;
};

TEST_F(BundleFolderTest, ReadsWhatIsInIt) {
  EXPECT_EQ(*folder_->ReadFile("data/a", 100), "one");
  EXPECT_EQ(folder_->List()->at("data/a"), 3u);
  EXPECT_EQ(*folder_->HashFile("data/a", nullptr), base::Sha256Hex("one"));
}

TEST_F(BundleFolderTest, WhatIsMissingIsFalse) {
  EXPECT_TRUE(absl::IsDataLoss(folder_->ReadFile("data/b", 100).status()));
  EXPECT_TRUE(absl::IsDataLoss(folder_->ReadFile("data/a", 2).status()));
  EXPECT_TRUE(absl::IsNotFound(BundleFolder::Open("/nowhere").status()));
}

TEST_F(BundleFolderTest, NothingLeadsOutOfIt) {
  for (const char* path :
       {"../outside", "data/../../outside", "/etc/passwd", "data//a", "./data",
        "", "data/", "data/a b", "data/a\\b", "data/\xc3\xa4"}) {
    EXPECT_TRUE(absl::IsDataLoss(folder_->ReadFile(path, 100).status()))
        << path;
  }
}

TEST_F(BundleFolderTest, LinksAreRefused) {
  fs::create_symlink(root_.parent_path() / "outside", root_ / "data" / "link");
  EXPECT_TRUE(absl::IsDataLoss(folder_->ReadFile("data/link", 100).status()));
  EXPECT_TRUE(absl::IsDataLoss(folder_->List().status()));
}

TEST_F(BundleFolderTest, FoldersThatAreLinksAreRefused) {
  fs::create_directory_symlink(root_.parent_path(), root_ / "data" / "up");
  EXPECT_FALSE(folder_->ReadFile("data/up/outside", 100).ok());
  EXPECT_TRUE(absl::IsDataLoss(folder_->List().status()));
}

TEST_F(BundleFolderTest, PipesHoldNobodyUp) {
  ASSERT_EQ(mkfifo((root_ / "data" / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsDataLoss(folder_->OpenFile("data/pipe").status()));
  EXPECT_TRUE(absl::IsDataLoss(folder_->List().status()));
}

TEST_F(BundleFolderTest, DepthIsBounded) {
  fs::path deep = root_ / "data";
  for (int i = 0; i < 20; ++i) deep /= "d";
  fs::create_directories(deep);
  EXPECT_TRUE(absl::IsDataLoss(folder_->List().status()));
}

}  // namespace
}  // namespace diptych::verify
