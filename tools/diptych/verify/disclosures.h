#ifndef TOOLS_DIPTYCH_VERIFY_DISCLOSURES_H_
#define TOOLS_DIPTYCH_VERIFY_DISCLOSURES_H_

#include <cstdint>
#include <map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// By span number.
using Spans = std::map<uint32_t, stored::v1::SpanDescription>;

// What was sealed and is shown: each against the commitment in its record.
// REQUIRES: CheckRecords has passed. Errors are DATA_LOSS and name the place.
absl::StatusOr<Spans> CheckSpans(const Evidence& evidence);

// Fills the tags and events of `result`, and says which notes are not shown.
absl::Status CheckNotes(const Evidence& evidence, const Chain& chain,
                        VerifyResult* result);

// Fills the attachments. Each file consists of parts that are proven, from its
// first byte to its last, and data/attachments has no other file. REQUIRES:
// CheckNotes.
absl::Status CheckAttachments(const Evidence& evidence,
                              const BundleFolder& folder, VerifyResult* result);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_DISCLOSURES_H_
