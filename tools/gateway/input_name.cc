#include "tools/gateway/input_name.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace diptych::gateway {
namespace {

struct Scheme {
  const char* prefix;
  const char* protocols;
};

constexpr Scheme kSchemes[] = {
    {"rtsp://", "rtsp,rtp,udp,tcp"},
    {"rtsps://", "rtsps,rtsp,rtp,udp,tcp,tls"},
    {"rtmp://", "rtmp,tcp"},
    {"rtmps://", "rtmps,rtmp,tcp,tls"},
    {"srt://", "srt"},
    {"udp://", "udp"},
    {"rtp://", "rtp,udp"},
};

}  // namespace

absl::StatusOr<InputName> ParseInputName(const std::string& input) {
  InputName name;
  name.url = input;
  if (input == "-") {
    name.url = "pipe:0";
    name.protocols = "pipe";
    return name;
  }
  for (const Scheme& scheme : kSchemes) {
    if (!absl::StartsWithIgnoreCase(input, scheme.prefix)) continue;
    name.protocols = scheme.protocols;
    name.live = true;
    name.rtsp = absl::StartsWith(scheme.prefix, "rtsp");
    return name;
  }
  if (absl::StrContains(input, "://")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "can't read ", input, ": only rtsp, rtmp, srt, udp and rtp URLs"));
  }
  std::error_code error;
  const auto status = std::filesystem::status(input, error);
  if (!std::filesystem::exists(status)) {
    return absl::NotFoundError(absl::StrCat("there is no file ", input));
  }
  if (std::filesystem::is_directory(status)) {
    return absl::FailedPreconditionError(
        absl::StrCat("can't read ", input, ": it is a folder"));
  }
  // So that no part of a name is taken for a protocol.
  name.url = absl::StrCat("file:", input);
  if (absl::EndsWithIgnoreCase(input, ".sdp")) {
    name.protocols = "file,rtp,udp";
    name.live = true;
    return name;
  }
  name.protocols = "file";
  name.regular_file = std::filesystem::is_regular_file(status);
  return name;
}

}  // namespace diptych::gateway
