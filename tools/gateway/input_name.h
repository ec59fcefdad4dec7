#ifndef TOOLS_GATEWAY_INPUT_NAME_H_
#define TOOLS_GATEWAY_INPUT_NAME_H_

#include <string>

#include "absl/status/statusor.h"

namespace diptych::gateway {

// What an input's name on the command line means.
struct InputName {
  // As libav wants it.
  std::string url;
  // What libav may open on its behalf, separated by commas: a playlist or SDP
  // file must not reach other files or hosts.
  std::string protocols;
  bool live = false;
  bool rtsp = false;
  bool regular_file = false;
};

// NOT_FOUND if it is a file that is not there; INVALID_ARGUMENT if it is a URL
// of a kind that is not read.
absl::StatusOr<InputName> ParseInputName(const std::string& input);

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_INPUT_NAME_H_
