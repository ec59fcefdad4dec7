#include "tools/diptychd/storage_guard.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/faulty_file.h"
#include "archiver/base/limits.h"

namespace diptych::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class StorageGuardTest : public testing::Test {
 protected:
  std::string Reason() {
    const absl::Status status = guard_.Admit();
    if (status.ok()) return "";
    const auto detail = base::GetErrorDetail(status);
    EXPECT_TRUE(detail.has_value()) << status;
    return detail->reason();
  }

  base::FaultyFileSystem files_{"/r"};
  base::FakeClock clock_;
  StorageGuard guard_{{.file_system = &files_,
                       .clock = &clock_,
                       .directory = "/r",
                       .reserve_bytes = 1000}};
};

TEST_F(StorageGuardTest, RefusesNewSessionsUnderTheReserve) {
  EXPECT_EQ(Reason(), "");
  files_.SetFreeBytes(999);
  // The last answer holds for a moment.
  EXPECT_EQ(Reason(), "");
  clock_.Advance(limits::kSpaceCheck);
  EXPECT_EQ(Reason(), "NO_SPACE");
  EXPECT_THAT(std::string(guard_.Admit().message()), HasSubstr("999"));
  files_.SetFreeBytes(1000);
  clock_.Advance(limits::kSpaceCheck);
  EXPECT_EQ(Reason(), "");
}

TEST_F(StorageGuardTest, RefusesNewSessionsWhileNothingBecomesDurable) {
  guard_.Report("log", absl::ResourceExhaustedError("full"));
  EXPECT_EQ(Reason(), "NO_SPACE");
  guard_.Report("log", absl::DeadlineExceededError("hangs"));
  EXPECT_EQ(Reason(), "STORAGE_UNHEALTHY");
  guard_.Report("log", absl::OkStatus());
  EXPECT_EQ(Reason(), "");
  guard_.Report("keys", absl::UnavailableError("/data/keystore: broken"));
  EXPECT_EQ(Reason(), "STORAGE_FAILED");
  // No paths for clients.
  EXPECT_THAT(std::string(guard_.Admit().message()), Not(HasSubstr("/data")));
}

TEST_F(StorageGuardTest, TellsWhoListensOnceForEachChangeOfTheWhole) {
  std::vector<bool> told;
  guard_.Report("log", absl::ResourceExhaustedError("full"));
  guard_.SetListener([&](bool well) { told.push_back(well); });
  guard_.Report("keys", absl::ResourceExhaustedError("full"));
  guard_.Report("log", absl::OkStatus());
  guard_.Report("keys", absl::DeadlineExceededError("hangs"));
  guard_.Report("keys", absl::OkStatus());
  guard_.SetListener(nullptr);
  guard_.Report("keys", absl::UnavailableError("broken"));
  EXPECT_THAT(told, ElementsAre(false, true));
}

TEST(ReserveTest, IsATenthOfASmallDiskAndAGibibyteOfALargeOne) {
  EXPECT_EQ(DefaultReserve({.free_bytes = 1, .total_bytes = 1000}), 100u);
  EXPECT_EQ(DefaultReserve({.free_bytes = 1, .total_bytes = uint64_t{1} << 40}),
            uint64_t{1} << 30);
  EXPECT_EQ(DiskFloor(uint64_t{1} << 30), limits::kDiskFloor_bytes);
  EXPECT_EQ(DiskFloor(100), 50u);
  EXPECT_EQ(DiskFloor(0), 0u);
}

}  // namespace
}  // namespace diptych::daemon
