#include "indexer/builder/disk_room.h"

#include <cstdint>
#include <limits>
#include <optional>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "archiver/base/file.h"

namespace diptych::indexer {
namespace {

TEST(DiskRoomTest, LeavesTheReserveAlone) {
  base::FileSystem* const files = base::FileSystem::Real();
  const base::DiskSpace space = files->Space(::testing::TempDir()).value();
  EXPECT_TRUE(DiskRoom(files, ::testing::TempDir(), 0).For(1).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(
      DiskRoom(files, ::testing::TempDir(), 0).For(space.total_bytes + 1)));
  EXPECT_TRUE(absl::IsResourceExhausted(
      DiskRoom(files, ::testing::TempDir(), space.total_bytes + 1).For(0)));
  EXPECT_TRUE(absl::IsResourceExhausted(
      DiskRoom(files, ::testing::TempDir(), std::nullopt)
          .For(std::numeric_limits<uint64_t>::max())));
}

TEST(DiskRoomTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_FALSE(
      DiskRoom(base::FileSystem::Real(), ::testing::TempDir() + "/nowhere", 0)
          .For(0)
          .ok());
}

}  // namespace
}  // namespace diptych::indexer
