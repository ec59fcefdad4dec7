#ifndef TOOLS_LOADGEN_SESSION_PLAN_H_
#define TOOLS_LOADGEN_SESSION_PLAN_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/loadgen/recording.h"

namespace diptych::loadgen {

// What one session says besides its packets, as a day at the counters might
// have it: a few clerks and places, some service items asked for much more than
// others, residents who come once or twice, ratings that are mostly good.
// Everything is made up.
struct SessionPlan {
  std::string id;
  // Of each side, in the order of Recording::sides, without numbers.
  std::vector<std::vector<api::v1::Note>> notes_at_start;
  std::vector<std::vector<api::v1::Note>> notes_at_end;
};

// `random` decides everything but the id.
SessionPlan PlanSession(std::mt19937_64* random);

// For each track of a side where its clock stood when the session began.
std::vector<api::v1::Note> AnchorNotes(const Recording::Side& side,
                                       absl::Time start_time);

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_SESSION_PLAN_H_
