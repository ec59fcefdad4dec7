#ifndef INDEXER_RETRIEVAL_BUNDLE_EVIDENCE_H_
#define INDEXER_RETRIEVAL_BUNDLE_EVIDENCE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/retrieval/bundle_disclosure.h"
#include "indexer/retrieval/clip_recorder.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// A leaf of the log tree and the path of its proof below data/.
struct ProvenRecord {
  std::string header;
  // Empty if it has no body.
  std::string body_sha256;
  log::Position position = 0;
  std::string proof;
};

// A pair run with what proves it.
struct EvidenceRun {
  uint32_t track_id = 0;
  const PairRun* run = nullptr;
  // Its first chunk's place among the track's chunks in the segment.
  uint64_t first = 0;
  // Of the whole track; else `salts` of each chunk and `others`.
  std::string track_salt;
  std::vector<std::string> salts;
  std::vector<std::string> others;
};

struct EvidenceSegment {
  // Into BundleEvidence::manifests.
  size_t manifest = 0;
  // In the order of the track ids.
  std::vector<EvidenceRun> runs;
};

struct EvidenceAnchor {
  std::string checkpoint;
  std::string timestamp;
  std::vector<std::string> consistency;
};

// What evidence.json says (archiver/evidence/BUNDLE_FORMAT.md).
struct BundleEvidence {
  base::Uuid archive_id;
  base::Uuid session_id;
  int64_t start_time_us = 0;
  int64_t from_us = 0;
  int64_t to_us = 0;
  std::string media_file;
  std::string container;
  int64_t origin_us = 0;
  // By id: as the clip's first span has them.
  std::map<uint32_t, stored::v1::Track> tracks;
  std::vector<TrackClip> clips;
  std::vector<EvidenceSegment> segments;
  // `proof` is empty for those that the next one names.
  std::vector<ProvenRecord> manifests;
  ProvenRecord opened;
  std::optional<ProvenRecord> closed;
  ProvenRecord access;
  std::string access_record;
  Disclosure disclosed;
  std::vector<EvidenceAnchor> anchors;
};

// Hands evidence.json.gz over piece by piece. FAILED_PRECONDITION if its text
// is longer than limits::kMaxEvidenceFile_bytes; errors of `write`.
absl::Status WriteEvidence(
    const BundleEvidence& evidence,
    const std::function<absl::Status(absl::string_view)>& write);

// What evidence.json calls `raw_ms`: differences as zigzag varints, compressed,
// in base64.
std::string EncodeRawMs(const std::vector<int64_t>& raw_ms);

// The packets of boundary.bin, in the order in which evidence.json counts them.
absl::Status WriteBoundary(
    const BundleEvidence& evidence,
    const std::function<absl::Status(absl::string_view)>& write);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_BUNDLE_EVIDENCE_H_
