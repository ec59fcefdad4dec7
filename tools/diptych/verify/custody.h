#ifndef TOOLS_DIPTYCH_VERIFY_CUSTODY_H_
#define TOOLS_DIPTYCH_VERIFY_CUSTODY_H_

#include "absl/status/status.h"
#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// Fills what the proven records say of the session's way from its opening to
// this bundle: who, when, why. REQUIRES: CheckRecords has passed.
void FillCustody(const Evidence& evidence, const Chain& chain,
                 VerifyResult* result);

// What the closing record counts against what is here; for whole sessions.
// DATA_LOSS if they differ. REQUIRES: PacketCheck has finished.
absl::Status CheckTotals(const Chain& chain, const VerifyResult& result);

// Who vouches, by the keys that were given.
void SayVouching(VerifyResult* result);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_CUSTODY_H_
