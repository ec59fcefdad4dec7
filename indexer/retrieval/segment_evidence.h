#ifndef INDEXER_RETRIEVAL_SEGMENT_EVIDENCE_H_
#define INDEXER_RETRIEVAL_SEGMENT_EVIDENCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "indexer/retrieval/bundle_evidence.h"
#include "indexer/retrieval/clip_recorder.h"
#include "indexer/retrieval/session_reader.h"

namespace diptych::indexer {

// What proves the clips' runs in `segment` under its manifest: salts, and the
// leaves of other chunks. In the order of the clips, which must outlive the
// result. DATA_LOSS, naming track and segment, if the packets do not give the
// manifest's root.
absl::StatusOr<std::vector<EvidenceRun>> ProveRuns(
    uint32_t segment, absl::string_view manifest_header,
    const std::vector<TrackClip>& clips, SessionReader* session);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_SEGMENT_EVIDENCE_H_
