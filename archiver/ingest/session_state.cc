#include "archiver/ingest/session_state.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "archiver/base/log_line.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

std::string Words(const std::vector<stored::v1::SideTrouble>& troubles) {
  std::string words;
  for (const stored::v1::SideTrouble& trouble : troubles) {
    absl::StrAppend(
        &words, words.empty() ? "" : ", ",
        trouble.side() == stored::v1::SIDE_RESIDENT ? "resident" : "clerk",
        trouble.trouble() == stored::v1::TROUBLE_MISSING ? " missing"
                                                         : " stalled");
  }
  return words;
}

}  // namespace

log::Record MakeStateRecord(const StateChange& change) {
  stored::v1::StateChanged changed;
  changed.set_session_id(std::string(change.session_id.bytes()));
  changed.set_epoch(change.epoch);
  changed.set_state(change.state);
  for (const stored::v1::SideTrouble& trouble : change.troubles) {
    *changed.add_troubles() = trouble;
  }
  changed.set_at_us(change.now_us - change.start_time_us);
  changed.set_record_time_us(change.now_us);
  const bool degraded = change.state == stored::v1::SESSION_STATE_DEGRADED;
  base::LogLine(degraded ? base::Severity::kWarning : base::Severity::kInfo,
                degraded ? "a session is degraded" : "a session is whole again",
                {{"session", change.session_id.ToString()},
                 {"sides", Words(change.troubles)}});
  return {log::RecordType::kStateChanged, changed.SerializeAsString(), ""};
}

bool SameTroubles(const std::vector<stored::v1::SideTrouble>& a,
                  const std::vector<stored::v1::SideTrouble>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& one, const auto& other) {
                      return one.side() == other.side() &&
                             one.trouble() == other.trouble();
                    });
}

}  // namespace diptych::ingest
