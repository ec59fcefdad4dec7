#ifndef TOOLS_GATEWAY_AV1_STREAM_H_
#define TOOLS_GATEWAY_AV1_STREAM_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::gateway {

// The canonical form of an AV1 temporal unit: without temporal delimiters,
// every OBU with its size. INVALID_ARGUMENT if it can't be taken apart.
absl::StatusOr<std::string> CanonicalAv1(absl::string_view temporal_unit);

// The sequence header OBU, whole, of a canonical temporal unit or of av1C's
// configOBUs; nullopt if there is none.
std::optional<std::string> FindAv1SequenceHeader(absl::string_view obus);

// av1C around a sequence header OBU. INVALID_ARGUMENT if that is broken.
absl::StatusOr<std::string> BuildAv1Config(absl::string_view sequence_header);

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_AV1_STREAM_H_
