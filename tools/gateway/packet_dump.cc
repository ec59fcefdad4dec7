// Prints a media file's packets in canonical form, one line each:
//   packet TRACK PTS_US DTS_US DURATION_US FLAGS SKIP_START SKIP_END BYTES
//   SHA256
// with `track` lines in front and where tracks change. FLAGS: K key, D discard.

#include <cstdint>
#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/media_source.h"

namespace diptych::gateway {
namespace {

void PrintTracks(const std::vector<api::v1::Track>& tracks) {
  for (const api::v1::Track& track : tracks) {
    std::printf("track %u %s %ux%u %u/%u %s\n", track.track_id(),
                api::v1::Codec_Name(track.codec()).c_str(), track.width(),
                track.height(), track.sample_rate_hz(), track.channels(),
                absl::BytesToHexString(track.codec_config()).c_str());
  }
}

void PrintPacket(const api::v1::Packet& packet) {
  std::printf("packet %u %lld %lld %llu %s%s %u %u %zu %s\n", packet.track_id(),
              static_cast<long long>(packet.pts_us()),
              static_cast<long long>(packet.dts_us()),
              static_cast<unsigned long long>(packet.duration_us()),
              packet.key_frame() ? "K" : "_", packet.discard() ? "D" : "_",
              packet.skip_start_samples(), packet.skip_end_samples(),
              packet.payload().size(),
              base::Sha256Hex(packet.payload()).c_str());
}

int Run(const std::string& input) {
  SourceOptions options;
  options.input = input;
  options.side = api::v1::SIDE_RESIDENT;
  auto source = MediaSource::Open(options);
  if (!source.ok()) {
    std::fprintf(stderr, "%s\n",
                 std::string(source.status().message()).c_str());
    return 1;
  }
  PrintTracks((*source)->tracks());
  while (auto item = (*source)->Next()) {
    if (const auto* packet = std::get_if<api::v1::Packet>(&*item)) {
      PrintPacket(*packet);
    } else if (const auto* tracks =
                   std::get_if<std::vector<api::v1::Track>>(&*item)) {
      PrintTracks(*tracks);
    }
  }
  for (const SourceProblem& problem : (*source)->problems()) {
    std::fprintf(stderr, "%s%s%s%s\n", problem.harmless ? "(harmless) " : "",
                 problem.what.c_str(), problem.place.empty() ? "" : "; ",
                 problem.place.c_str());
  }
  return 0;
}

}  // namespace
}  // namespace diptych::gateway

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: packet_dump INPUT\n");
    return 2;
  }
  return diptych::gateway::Run(argv[1]);
}
