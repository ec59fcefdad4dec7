#include "tools/diptych/exit_codes.h"

#include <utility>

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace diptych::cli {
namespace {

// The contract's own table; scripts depend on the numbers.
TEST(ExitCodesTest, OfEveryStatus) {
  for (const auto& [code, exit_code] :
       {std::pair{absl::StatusCode::kOk, 0},
        {absl::StatusCode::kInvalidArgument, 2},
        {absl::StatusCode::kNotFound, 3},
        {absl::StatusCode::kPermissionDenied, 4},
        {absl::StatusCode::kUnauthenticated, 4},
        {absl::StatusCode::kUnavailable, 5},
        {absl::StatusCode::kResourceExhausted, 5},
        {absl::StatusCode::kDeadlineExceeded, 5},
        {absl::StatusCode::kDataLoss, 6},
        {absl::StatusCode::kCancelled, 130},
        {absl::StatusCode::kInternal, 1},
        {absl::StatusCode::kUnknown, 1},
        {absl::StatusCode::kFailedPrecondition, 1},
        {absl::StatusCode::kAlreadyExists, 1},
        {absl::StatusCode::kAborted, 1},
        {absl::StatusCode::kOutOfRange, 1},
        {absl::StatusCode::kUnimplemented, 1}}) {
    EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::Status(code, "x"))), exit_code)
        << absl::StatusCodeToString(code);
  }
  EXPECT_EQ(static_cast<int>(ExitCode::kIncomplete), 7);
}

}  // namespace
}  // namespace diptych::cli
