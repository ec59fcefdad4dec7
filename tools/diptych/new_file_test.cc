#include "tools/diptych/new_file.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

class NewFileTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }

  static std::string Content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  size_t FilesInDir() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(dir_), {}));
  }

  const std::string dir_ =
      absl::StrCat(std::getenv("TEST_TMPDIR"), "/new_file_test");
  const std::string path_ = dir_ + "/out.mkv";
};

TEST_F(NewFileTest, WriteNewFileNeverOverwrites) {
  const mode_t before = umask(077);
  ASSERT_TRUE(WriteNewFile(path_, "one", 0644).ok());
  umask(before);
  struct stat info = {};
  stat(path_.c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777, 0644u);
  EXPECT_EQ(WriteNewFile(path_, "two", 0644).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Content(path_), "one");
}

TEST_F(NewFileTest, AppearsOnlyWithCommit) {
  auto file = PendingFile::Create(path_, false);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->WriteAt(4, "data").ok());
  ASSERT_TRUE(file->WriteAt(0, "head").ok());
  EXPECT_EQ(file->size(), 8u);
  EXPECT_FALSE(fs::exists(path_));
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(Content(path_), "headdata");
  EXPECT_EQ(FilesInDir(), 1u);
}

TEST_F(NewFileTest, LeavesNothingWithoutCommit) {
  {
    auto file = PendingFile::Create(path_, false);
    ASSERT_TRUE(file->WriteAt(0, "half").ok());
    EXPECT_EQ(FilesInDir(), 1u);
    const PendingFile moved = *std::move(file);
  }
  EXPECT_EQ(FilesInDir(), 0u);
}

TEST_F(NewFileTest, RefusesWhatIsThereUnlessForced) {
  ASSERT_TRUE(WriteNewFile(path_, "old", 0600).ok());
  EXPECT_EQ(PendingFile::Create(path_, false).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(PendingFile::Create(dir_, true).status().code(),
            absl::StatusCode::kAlreadyExists);
  auto file = PendingFile::Create(path_, true);
  ASSERT_TRUE(file->WriteAt(0, "new").ok());
  EXPECT_EQ(Content(path_), "old");
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(Content(path_), "new");
}

TEST_F(NewFileTest, RefusesWhatAppearsMeanwhile) {
  auto file = PendingFile::Create(path_, false);
  ASSERT_TRUE(WriteNewFile(path_, "other", 0600).ok());
  EXPECT_EQ(file->Commit().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Content(path_), "other");
}

TEST_F(NewFileTest, NoFolderIsAnError) {
  EXPECT_FALSE(PendingFile::Create(dir_ + "/no/out.mkv", false).ok());
}

TEST_F(NewFileTest, ImpossibleOffset) {
  auto file = PendingFile::Create(path_, false);
  EXPECT_EQ(file->WriteAt(UINT64_MAX - 1, "x").code(),
            absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace diptych::cli
