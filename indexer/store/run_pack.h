#ifndef INDEXER_STORE_RUN_PACK_H_
#define INDEXER_STORE_RUN_PACK_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Runs of one session that share a row (FORMAT.md), without holes from the
// group's first number on. They name the session, so that an answer that needs
// no more than times does not open its row.
struct RunPack {
  base::Uuid session;
  std::vector<stored::v1::RunRow> runs;
};

std::string PackRuns(const base::Uuid& session,
                     absl::Span<const stored::v1::RunRow> runs);

// DATA_LOSS if the bytes are not what PackRuns wrote.
absl::StatusOr<RunPack> UnpackRuns(absl::string_view pack);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_RUN_PACK_H_
