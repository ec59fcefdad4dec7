#ifndef TOOLS_DIPTYCH_VERIFY_CHAIN_H_
#define TOOLS_DIPTYCH_VERIFY_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/log_tree.h"

namespace diptych::verify {

struct Manifest {
  stored::v1::Segment header;
  // The one before it in the list is the one before it in the session.
  bool follows_previous = false;
  // By track id: the numbers of the chunks that have packets of it.
  std::map<uint32_t, std::vector<uint32_t>> track_chunks;
  std::map<uint32_t, const stored::v1::SegmentTrack*> tracks;
};

// The session's records, each proven by the tree, by a manifest or by the
// closing record. Errors are DATA_LOSS and name the place.
struct Chain {
  stored::v1::SessionOpened opened;
  std::optional<stored::v1::SessionClosed> closed;
  stored::v1::Access access;
  stored::v1::AccessRecord access_record;
  // Of the tree: the opening's, the last one's of the session, the access
  // record's.
  uint64_t first_leaf = 0;
  uint64_t last_leaf = 0;
  uint64_t access_leaf = 0;
  // As evidence.manifests.
  std::vector<Manifest> manifests;
  // From the session's first manifest to its last, without a hole.
  bool complete = false;
  // The list's last is the session's last.
  bool ends_with_session = false;
};

absl::StatusOr<Chain> CheckChain(const Evidence& evidence, const LogTree& tree);

// Shows that every disclosed record is named by a manifest or by the closing
// record, and is of this session.
absl::Status CheckRecords(const Evidence& evidence, const Chain& chain);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_CHAIN_H_
