#ifndef ARCHIVER_EVIDENCE_LOG_LEAVES_H_
#define ARCHIVER_EVIDENCE_LOG_LEAVES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::evidence {

// Leaves of the log tree, made from the log itself.

// What a record, as it lies in the log, is in the tree. REQUIRES:
// IsLogLeaf(type).
LogLeaf LeafOf(log::RecordType type, absl::string_view header,
               absl::string_view body, log::Position position);

struct LeafBatch {
  std::vector<LogLeaf> leaves;
  // False: there are more.
  bool complete = true;
};

// Leaves whose records lie after that at `after` (nullopt: from the log's
// beginning) and before `until`, which is the beginning of a record or the
// log's end; at most `max`. Damaged records are passed over: `check` names
// them.
absl::StatusOr<LeafBatch> ReadLeaves(const log::LogReader& log,
                                     std::optional<log::Position> after,
                                     log::Position until, size_t max);

// OK if the log holds the record that `leaf` stands for, or damaged bytes where
// it lay. DATA_LOSS if the log ends before it, or has another record there: the
// log is not the one that the tree was made from.
absl::Status CheckHeld(const log::LogReader& log, const LogLeaf& leaf);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_LOG_LEAVES_H_
