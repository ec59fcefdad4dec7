#ifndef TOOLS_DIPTYCH_EXIT_CODES_H_
#define TOOLS_DIPTYCH_EXIT_CODES_H_

#include "absl/status/status.h"

namespace diptych::cli {

// What scripts see; never renumbered.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kWrongUse = 2,
  kNotFound = 3,
  kNotAllowed = 4,
  kRetry = 5,
  kIntegrity = 6,
  kIncomplete = 7,
  kInterrupted = 130,
};

// The exit code of a command that ended with `status`. CANCELLED stands for the
// user's interrupt: nobody else cancels calls here.
inline ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kInvalidArgument:
      return ExitCode::kWrongUse;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNotFound;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return ExitCode::kNotAllowed;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
      return ExitCode::kRetry;
    case absl::StatusCode::kDataLoss:
      return ExitCode::kIntegrity;
    case absl::StatusCode::kCancelled:
      return ExitCode::kInterrupted;
    default:
      return ExitCode::kFailed;
  }
}

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_EXIT_CODES_H_
