#include "archiver/base/errors.h"

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::base {
namespace {

constexpr absl::string_view kPayloadUrl =
    "type.googleapis.com/diptych.api.v1.ErrorDetail";

}  // namespace

absl::Status MakeError(absl::StatusCode code, absl::string_view message,
                       const api::v1::ErrorDetail& detail) {
  absl::Status status(code, message);
  status.SetPayload(kPayloadUrl, absl::Cord(detail.SerializeAsString()));
  return status;
}

std::optional<api::v1::ErrorDetail> GetErrorDetail(const absl::Status& status) {
  const std::optional<absl::Cord> payload = [&]() -> std::optional<absl::Cord> {
    auto found = status.GetPayload(kPayloadUrl);
    if (!found.has_value()) return std::nullopt;
    return *found;
  }();
  if (!payload.has_value()) return std::nullopt;
  api::v1::ErrorDetail detail;
  if (!detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

absl::Status WithDetail(const absl::Status& status,
                        const api::v1::ErrorDetail& detail) {
  if (status.ok()) return status;
  api::v1::ErrorDetail merged =
      GetErrorDetail(status).value_or(api::v1::ErrorDetail());
  merged.MergeFrom(detail);
  return MakeError(status.code(), status.message(), merged);
}

absl::Status IntegrityError(absl::string_view message) {
  api::v1::ErrorDetail detail;
  detail.set_reason("INTEGRITY");
  return MakeError(absl::StatusCode::kDataLoss, message, detail);
}

}  // namespace diptych::base
