#ifndef TOOLS_DIPTYCH_PUSH_RECEIPT_H_
#define TOOLS_DIPTYCH_PUSH_RECEIPT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"
#include "tools/gateway/gateway_session.h"

namespace diptych::cli {

// A receipt as `push --receipt` writes it and `verify` reads it
// (archiver/evidence/FORMAT.md, "Receipts"). Without a checkpoint it lacks
// log_index, inclusion_proof and checkpoint.
Json ReceiptJson(const api::v1::Receipt& receipt);

// OK if a receipt of `session_id` can be written to `path`: it is free, or has
// a receipt of the same session. ALREADY_EXISTS if something else is there, so
// that no other session's proof is lost.
absl::Status CheckReceiptPath(const std::string& path,
                              const std::string& session_id);

// Puts it there, whole or not at all, and on the disk.
absl::Status WriteReceipt(const std::string& path,
                          const api::v1::Receipt& receipt);

// Asks again for a closed session's receipt until it has a checkpoint.
// DEADLINE_EXCEEDED after `timeout`; otherwise why it can't be asked. `session`
// is how it was handed over: its ids, start, sides and connection count.
absl::StatusOr<api::v1::Receipt> AwaitProvenReceipt(
    const gateway::SessionOptions& session, const api::v1::Receipt& unproven,
    absl::Duration timeout, Interrupt* interrupt);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_PUSH_RECEIPT_H_
