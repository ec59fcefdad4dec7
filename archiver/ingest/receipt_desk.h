#ifndef ARCHIVER_INGEST_RECEIPT_DESK_H_
#define ARCHIVER_INGEST_RECEIPT_DESK_H_

#include <memory>
#include <set>

#include "archiver/evidence/leaf_prover.h"
#include "archiver/ingest/session.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {

// Sends a closed session's receipt and ends the streams: with its proof as soon
// as there is one, without it if that takes too long. Null `prover`: at once,
// without.
void GiveReceipt(evidence::LeafProver* prover, api::v1::Receipt receipt,
                 std::set<std::shared_ptr<StreamSink>> sinks);

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_RECEIPT_DESK_H_
