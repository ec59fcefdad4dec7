#include "tools/diptych/bundle/bundle_folder.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kArchive[] = "0f8fad5b-d9cb-469f-a165-70867728950e";
constexpr char kSession[] = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class BundleFolderTest : public ::testing::Test {
 protected:
  BundleFolderTest() {
    std::string folder = ::testing::TempDir() + "/bundle-XXXXXX";
    folder_ = mkdtemp(folder.data());
    path_ = folder_ + "/case";
  }
  ~BundleFolderTest() override { fs::remove_all(folder_); }

  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      names.insert(entry.path().filename());
    }
    return names;
  }

  std::string folder_;
  std::string path_;
};

TEST_F(BundleFolderTest, IsABagThatSha256sumReads) {
  {
    auto folder = BundleFolder::Create(path_ + "/", false);
    ASSERT_TRUE(folder.ok()) << folder.status();
    // One file's pieces between another's, and out of order.
    ASSERT_TRUE(folder->WriteData("media.mkv", 4, "5678").ok());
    ASSERT_TRUE(folder->WriteData("proofs/opened.tlog-proof", 0, "p").ok());
    ASSERT_TRUE(folder->WriteData("media.mkv", 0, "1234").ok());
    ASSERT_TRUE(
        folder->MakeBag(kArchive, kSession, 1'700'000'000'000'000).ok());
    EXPECT_EQ(folder->payload_bytes(), 9u);
    EXPECT_FALSE(fs::exists(path_));
    ASSERT_TRUE(folder->Commit().ok());
  }
  EXPECT_EQ(Names(), std::set<std::string>{"case"});
  EXPECT_EQ(ReadAll(path_ + "/data/media.mkv"), "12345678");
  const std::string info = ReadAll(path_ + "/bag-info.txt");
  EXPECT_NE(info.find("Payload-Oxum: 9.2\n"), std::string::npos) << info;
  const std::string in = "cd '" + path_ + "' && sha256sum --quiet -c ";
  EXPECT_EQ(std::system((in + "manifest-sha256.txt").c_str()), 0);
  EXPECT_EQ(std::system((in + "tagmanifest-sha256.txt").c_str()), 0);
}

TEST_F(BundleFolderTest, WhatIsNotCommittedLeavesNothing) {
  {
    auto folder = BundleFolder::Create(path_, false);
    ASSERT_TRUE(folder.ok()) << folder.status();
    ASSERT_TRUE(folder->WriteData("media.mkv", 0, "1234").ok());
    ASSERT_EQ(Names().size(), 1u);
  }
  EXPECT_TRUE(Names().empty());
}

TEST_F(BundleFolderTest, NothingIsReplacedUnasked) {
  fs::create_directory(path_);
  EXPECT_EQ(BundleFolder::Create(path_, false).status().code(),
            absl::StatusCode::kAlreadyExists);
  // And a folder that is no bundle never is.
  EXPECT_EQ(BundleFolder::Create(path_, true).status().code(),
            absl::StatusCode::kAlreadyExists);
  std::ofstream(path_ + "/bagit.txt") << "BagIt-Version: 1.0\n";
  auto folder = BundleFolder::Create(path_, true);
  ASSERT_TRUE(folder.ok()) << folder.status();
  ASSERT_TRUE(folder->WriteData("media.mkv", 0, "1234").ok());
  ASSERT_TRUE(folder->MakeBag(kArchive, kSession, 0).ok());
  ASSERT_TRUE(folder->Commit().ok());
  EXPECT_TRUE(fs::exists(path_ + "/data/media.mkv"));
  EXPECT_EQ(Names(), std::set<std::string>{"case"});
}

TEST_F(BundleFolderTest, NamesFromOutsideDoNotLeadOut) {
  auto folder = BundleFolder::Create(path_, false);
  ASSERT_TRUE(folder.ok()) << folder.status();
  for (const char* name : {"", "../x", "a/../x", "/x", "a//x", ".hidden",
                           "a/.x", "a b", "x\n", "\xc3\xa9"}) {
    EXPECT_EQ(folder->WriteData(name, 0, "x").code(),
              absl::StatusCode::kDataLoss)
        << name;
  }
  EXPECT_EQ(folder->WriteData("x", ~uint64_t{0}, "x").code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace diptych::cli
