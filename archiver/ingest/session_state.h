#ifndef ARCHIVER_INGEST_SESSION_STATE_H_
#define ARCHIVER_INGEST_SESSION_STATE_H_

#include <cstdint>
#include <vector>

#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// An open session's new state and, if it is degraded, why.
struct StateChange {
  base::Uuid session_id;
  uint64_t epoch = 0;
  stored::v1::SessionState state = stored::v1::SESSION_STATE_UNSPECIFIED;
  std::vector<stored::v1::SideTrouble> troubles;
  // Wall clock at session time 0, and now.
  int64_t start_time_us = 0;
  int64_t now_us = 0;
};

// The record that says so. Also tells the operator, in one log line.
log::Record MakeStateRecord(const StateChange& change);

// True if both name the same troubles of the same sides.
bool SameTroubles(const std::vector<stored::v1::SideTrouble>& a,
                  const std::vector<stored::v1::SideTrouble>& b);

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_SESSION_STATE_H_
