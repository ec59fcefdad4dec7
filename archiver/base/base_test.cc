#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/tag_keys.h"

namespace diptych::base {
namespace {

TEST(UuidTest, RoundTripsAndLowersCase) {
  const auto id = Uuid::Parse("0190A5F2-7c3e-7abc-8def-0123456789AB");
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(id->ToString(), "0190a5f2-7c3e-7abc-8def-0123456789ab");
  EXPECT_EQ(Uuid::FromBytes({id->bytes().data(), 16}).value(), *id);
}

TEST(UuidTest, RefusesWhatIsNotAUuid) {
  for (const char* bad : {"", "0190a5f2", "0190a5f2-7c3e-7abc-8def-0123456789a",
                          "0190a5f2-7c3e-7abc-8def-0123456789abc",
                          "0190a5f2_7c3e-7abc-8def-0123456789ab",
                          "0190a5f2-7c3e-7abc-8def-0123456789ag",
                          "0190a5f27-c3e-7abc-8def-0123456789ab"}) {
    EXPECT_FALSE(Uuid::Parse(bad).ok()) << bad;
  }
}

TEST(UuidTest, RandomIdsDifferAndAreVersion7) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string text = Uuid::Random().ToString();
    EXPECT_EQ(text[14], '7');
    EXPECT_TRUE(seen.insert(text).second);
  }
}

TEST(GrpcStatusTest, DetailSurvivesTheWire) {
  api::v1::ErrorDetail detail;
  detail.set_reason("SEQUENCE_GAP");
  detail.set_sequence(17);
  const absl::Status before =
      MakeError(absl::StatusCode::kInvalidArgument, "gap", detail);
  const absl::Status after = FromGrpcStatus(ToGrpcStatus(before));
  EXPECT_EQ(after.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(after.message(), "gap");
  ASSERT_TRUE(GetErrorDetail(after).has_value());
  EXPECT_EQ(GetErrorDetail(after)->sequence(), 17u);
}

TEST(GrpcStatusTest, WithDetailMerges) {
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD");
  api::v1::ErrorDetail more;
  more.set_session_id("s");
  const absl::Status status =
      WithDetail(MakeError(absl::StatusCode::kInternal, "m", detail), more);
  EXPECT_EQ(GetErrorDetail(status)->reason(), "BAD");
  EXPECT_EQ(GetErrorDetail(status)->session_id(), "s");
}

TEST(FileTest, AppendsManyPiecesAndReadsThemBack) {
  const std::string path = testing::TempDir() + "/pieces";
  std::filesystem::remove(path);
  std::string expected;
  {
    auto file = FileSystem::Real()->OpenForAppend(path);
    ASSERT_TRUE(file.ok());
    // More pieces than one writev takes.
    std::vector<std::string> pieces;
    for (int i = 0; i < 3000; ++i) pieces.push_back(std::to_string(i));
    std::vector<absl::string_view> views(pieces.begin(), pieces.end());
    for (const auto& piece : pieces) expected += piece;
    ASSERT_TRUE((*file)->Append(views).ok());
    ASSERT_TRUE((*file)->Sync().ok());
    EXPECT_EQ((*file)->size(), expected.size());
  }
  EXPECT_EQ(ReadWholeFile(path, 1 << 20).value(), expected);
  EXPECT_EQ(ReadWholeFile(path, 10).status().code(),
            absl::StatusCode::kResourceExhausted);
}

// Blocks of a file, also those behind its end.
uint64_t Blocks(const std::string& path) {
  struct stat info;
  EXPECT_EQ(stat(path.c_str(), &info), 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

TEST(FileTest, TakesSpaceAheadWithoutGrowingAndGivesItBack) {
  const std::string path = testing::TempDir() + "/reserved";
  std::filesystem::remove(path);
  auto file = FileSystem::Real()->OpenForAppend(path);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Append({"some", "thing"}).ok());
  const absl::StatusOr<uint64_t> reserved = (*file)->Reserve(1 << 20);
  ASSERT_TRUE(reserved.ok()) << reserved.status();
  if (*reserved == 9) GTEST_SKIP() << "this file system can't reserve";
  EXPECT_EQ(*reserved, uint64_t{1 << 20});
  EXPECT_EQ(std::filesystem::file_size(path), 9u);
  EXPECT_GE(Blocks(path), uint64_t{1 << 20});
  ASSERT_TRUE((*file)->Append({"!"}).ok());
  ASSERT_TRUE((*file)->ReleaseReserved().ok());
  EXPECT_LT(Blocks(path), uint64_t{1 << 19});
  EXPECT_EQ(ReadWholeFile(path, 100).value(), "something!");
}

TEST(FileTest, WhatWasAppendedCanBeTakenBack) {
  const std::string path = testing::TempDir() + "/cut";
  std::filesystem::remove(path);
  auto file = FileSystem::Real()->OpenForAppend(path);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Append({"good", "bad"}).ok());
  ASSERT_TRUE((*file)->CutTo(4).ok());
  EXPECT_EQ((*file)->size(), 4u);
  ASSERT_TRUE((*file)->Append({"better"}).ok());
  EXPECT_EQ(ReadWholeFile(path, 100).value(), "goodbetter");
}

TEST(FileTest, OnlyAFullDiskIsCalledSo) {
  // Linux has a device that is always full.
  auto full = FileSystem::Real()->OpenForAppend("/dev/full");
  ASSERT_TRUE(full.ok());
  EXPECT_EQ((*full)->Append({"x"}).code(),
            absl::StatusCode::kResourceExhausted);
  // As are too few file numbers, for the system's own list of codes.
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = FileSystem::Real()->OpenForRead("/dev/null");
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
}

TEST(FileTest, TellsTheSpaceOfADisk) {
  const auto space = FileSystem::Real()->Space(testing::TempDir());
  ASSERT_TRUE(space.ok());
  EXPECT_GT(space->total_bytes, space->free_bytes);
  EXPECT_EQ(FileSystem::Real()->Space("/nonexistent/x").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(FileLockTest, ASecondHolderIsRefused) {
  const std::string path = testing::TempDir() + "/lock";
  auto first = FileLock::Acquire(path);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(FileLock::Acquire(path).status().code(),
            absl::StatusCode::kFailedPrecondition);
  first->reset();
  EXPECT_TRUE(FileLock::Acquire(path).ok());
}

TEST(TagKeysTest, KeysValuesAndEventTypes) {
  EXPECT_TRUE(CheckTagKey("item").ok());
  EXPECT_TRUE(CheckTagKey("a" + std::string(62, '9')).ok());
  for (const std::string& bad :
       {std::string(), std::string("Item"), std::string("9a"),
        std::string("a b"), "a" + std::string(63, 'a')}) {
    EXPECT_FALSE(CheckTagKey(bad).ok()) << bad;
  }
  EXPECT_TRUE(CheckTagValue("item", "\xe4\xba\x8b\xe9\xa1\xb9").ok());
  EXPECT_TRUE(CheckTagValue("item", std::string(256, 'x')).ok());
  for (const std::string& bad :
       {std::string(), std::string(257, 'x'), std::string("\xc0\x80"),
        std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"),
        std::string("\xe4\xba"), std::string("a\nb"), std::string(1, '\0')}) {
    const absl::Status status = CheckTagValue("item", bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_EQ(GetErrorDetail(status)->reason(), "BAD_TAG");
  }
  EXPECT_TRUE(CheckEventType("card_read").ok());
  EXPECT_FALSE(CheckEventType("card-read").ok());
  EXPECT_TRUE(IsWholeSessionKey("rating"));
  EXPECT_FALSE(IsWholeSessionKey("item"));
}

TEST(FileTest, ErrorsNameThePath) {
  const auto file = FileSystem::Real()->OpenForRead("/nonexistent/x");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(file.status().message()),
              testing::HasSubstr("/nonexistent/x"));
}

}  // namespace
}  // namespace diptych::base
