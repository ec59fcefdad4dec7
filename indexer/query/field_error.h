#ifndef INDEXER_QUERY_FIELD_ERROR_H_
#define INDEXER_QUERY_FIELD_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::indexer {

// The error of a request's field.
inline absl::Status FieldError(absl::StatusCode code, absl::string_view reason,
                               absl::string_view field,
                               absl::string_view message) {
  api::v1::ErrorDetail detail;
  detail.set_reason(std::string(reason));
  detail.set_field(std::string(field));
  return base::MakeError(code, message, detail);
}

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_FIELD_ERROR_H_
