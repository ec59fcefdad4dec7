#ifndef TOOLS_GATEWAY_SOURCE_ITEM_H_
#define TOOLS_GATEWAY_SOURCE_ITEM_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {

// Something in an input that is not as it should be.
struct SourceProblem {
  // A plain sentence.
  std::string what;
  // Track, packet, time and byte, as far as they are known.
  std::string place;
  // Worth saying, but nothing of a recording is lost by it.
  bool harmless = false;
};

// What the sender's own clock showed at the pts of the next packet, by its RTCP
// sender reports.
struct SenderTime {
  absl::Time wall;
};

// What a source gives: a packet (without its sequence), the side's tracks as
// they are from the next packet on, or the time that belongs to the next packet
// (before each one, once a sender has reported).
using SourceItem =
    std::variant<api::v1::Packet, std::vector<api::v1::Track>, SenderTime>;

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SOURCE_ITEM_H_
