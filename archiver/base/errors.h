#ifndef ARCHIVER_BASE_ERRORS_H_
#define ARCHIVER_BASE_ERRORS_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::base {

// A status that says where it went wrong: `message` for people, `detail` (with
// a stable `reason`) for programs. Neither may hold a tag value, a key or
// payload.
absl::Status MakeError(absl::StatusCode code, absl::string_view message,
                       const api::v1::ErrorDetail& detail);

// The detail that MakeError put in; nullopt for other statuses.
std::optional<api::v1::ErrorDetail> GetErrorDetail(const absl::Status& status);

// `status` with `detail` merged over the one it has (if any).
absl::Status WithDetail(const absl::Status& status,
                        const api::v1::ErrorDetail& detail);

// An integrity error: stored bytes are not what was stored. DATA_LOSS.
absl::Status IntegrityError(absl::string_view message);

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_ERRORS_H_
