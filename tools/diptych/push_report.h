#ifndef TOOLS_DIPTYCH_PUSH_REPORT_H_
#define TOOLS_DIPTYCH_PUSH_REPORT_H_

#include <string>

#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/output.h"
#include "tools/gateway/gateway_session.h"

namespace diptych::cli {

// As text and as a JSON line.
void ShowReceipt(const api::v1::Receipt& receipt, Output* output);

// For a summary: each side's counters, and in words what is not as usual.
Json CountersOf(const gateway::SessionCounters& counters);
std::string TextOf(const gateway::SessionCounters& counters);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_PUSH_REPORT_H_
