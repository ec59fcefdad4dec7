#ifndef INDEXER_RETRIEVAL_EXPORT_MESSAGES_H_
#define INDEXER_RETRIEVAL_EXPORT_MESSAGES_H_

#include <cstddef>
#include <cstdint>

#include "indexer/retrieval/read_plan.h"
#include "proto/api/v1/media.pb.h"

namespace diptych::indexer {

// What a plan comes to, as the wire says it; access_log_position is left out.
api::v1::ReadStarted ToReadStarted(const ReadPlan& plan, int64_t origin_us);

// Counts what goes into each of a file's tracks.
class ExportTotals {
 public:
  ExportTotals() = default;
  explicit ExportTotals(const ReadPlan& plan);

  void Add(size_t track, size_t payload_bytes);
  api::v1::ReadFinished Finish(uint64_t file_bytes);

 private:
  api::v1::ReadFinished finished_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_EXPORT_MESSAGES_H_
