#ifndef TESTS_TAG_INDEX_SUSTAINED_H_
#define TESTS_TAG_INDEX_SUSTAINED_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/tag_index/measure.h"
#include "tests/tag_index/question.h"

namespace diptych::bench {

struct SustainedReport {
  // While the index has nothing to do, and while it takes in.
  Timing idle;
  Timing busy;
  uint64_t segments = 0;
  double seconds = 0;
};

// Lets an archive's index take in what its log has more, on one core together
// with everything that RocksDB does for it, while another core asks the shape's
// questions round and round. REQUIRES: two cores.
absl::StatusOr<SustainedReport> MeasureSustained(const std::string& data_folder,
                                                 const Shape& shape);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_SUSTAINED_H_
