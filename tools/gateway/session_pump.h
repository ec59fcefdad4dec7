#ifndef TOOLS_GATEWAY_SESSION_PUMP_H_
#define TOOLS_GATEWAY_SESSION_PUMP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/gateway_session.h"
#include "tools/gateway/media_source.h"

namespace diptych::gateway {

// One side's input and where its zero lies on the session timeline.
struct PumpInput {
  api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
  MediaSource* source = nullptr;
  int64_t shift_us = 0;
};

// Where each input's zero lies, in the order of `sources`: inputs from files
// keep the times that they have, live ones lie where they arrived,
// and all are moved by one amount if anything would begin before 0.
std::vector<int64_t> PlaceInputs(const std::vector<MediaSource*>& sources);

// A note and, if it is an event with an attachment, that one's bytes.
struct PumpNote {
  api::v1::Note note;
  std::string attachment;
};

struct PumpOptions {
  std::vector<PumpInput> inputs;
  // By their times, ascending. Each is sent on the first input's side, when the
  // media has come so far; those after the end at the end.
  std::vector<PumpNote> notes;
  absl::Time start_time;
  // In real time; live inputs always are.
  bool paced = true;
  // Packets of files wait for room in the gateway's memory. A paced session
  // with a spool does without, as a call does.
  bool wait_for_room = true;
  // Ends the pump once true. May be null.
  const std::atomic<bool>* stop = nullptr;
  // Called for each packet, on the caller's thread.
  std::function<void(int64_t reached_us)> on_progress;
};

struct PumpResult {
  struct SideResult {
    api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
    uint64_t packets = 0;
    uint64_t payload_bytes = 0;
    // Left out here, beside those that the source left out.
    uint64_t left_out = 0;
    std::vector<SourceProblem> problems;
    // Why the archive takes no more of it; else OK.
    absl::Status refused;
  };
  std::vector<SideResult> sides;
  // What became of the notes.
  absl::Status notes;
};

// Sends inputs and notes over `session` until all inputs have ended. Packets of
// file inputs leave in the order of their decode times.
PumpResult RunPump(const PumpOptions& options, GatewaySession* session);

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SESSION_PUMP_H_
