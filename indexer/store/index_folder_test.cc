#include "indexer/store/index_folder.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

class IndexFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(data_ + "/volumes");
    fs::create_directories(keys_);
  }
  bool Good(const std::string& index) const {
    return CheckIndexFolder(index, data_, keys_).ok();
  }

  const std::string base_ = ::testing::TempDir() + "/index_folder";
  const std::string data_ = base_ + "/archive";
  const std::string keys_ = base_ + "/archive.keys";
};

TEST_F(IndexFolderTest, TakesAFolderOfItsOwn) {
  EXPECT_TRUE(Good(data_ + "/index"));
  EXPECT_TRUE(Good(data_ + "/index/"));
  EXPECT_TRUE(Good(data_ + ".index"));
  EXPECT_TRUE(Good(base_ + "/second/index"));
}

TEST_F(IndexFolderTest, RefusesWhatIsTheArchivesOrTheKeys) {
  for (const std::string& index :
       {data_, data_ + "/", base_, data_ + "/index/..", data_ + "/volumes",
        data_ + "/volumes/1", data_ + "/keystore", keys_, keys_ + "/index",
        std::string("/")}) {
    EXPECT_FALSE(Good(index)) << index;
  }
  fs::remove(base_ + "/link");
  fs::create_directory_symlink(data_, base_ + "/link");
  EXPECT_FALSE(Good(base_ + "/link"));
  EXPECT_FALSE(Good(base_ + "/link/tlog"));
  EXPECT_TRUE(Good(base_ + "/link/index"));
}

}  // namespace
}  // namespace diptych::indexer
