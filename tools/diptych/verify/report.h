#ifndef TOOLS_DIPTYCH_VERIFY_REPORT_H_
#define TOOLS_DIPTYCH_VERIFY_REPORT_H_

#include <string>

#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// The custody report: one HTML page for people, that needs nothing else and
// prints. It says what the evidence says and never what keys somebody has, so
// that the same bundle gives the same bytes, and verify can make it again and
// compare. Nothing in it is proven by being there. REQUIRES: !result.falsehood.
std::string RenderReport(const VerifyResult& result);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_REPORT_H_
