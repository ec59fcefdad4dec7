#ifndef TOOLS_DIPTYCH_CLOCK_QUALITY_H_
#define TOOLS_DIPTYCH_CLOCK_QUALITY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/time/time.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::cli {

// How one track's media clock stood to the wall clock, from its raw anchors.
struct ClockQuality {
  uint32_t track_id = 0;
  uint64_t anchors = 0;
  // All that occurred, sorted, each once.
  std::vector<std::string> sources;
  uint64_t max_uncertainty_us = 0;
  // Wall time minus (session start + media time): smallest and largest.
  int64_t min_offset_us = 0;
  int64_t max_offset_us = 0;
  // Parts per million by which the wall clock ran faster than the media clock,
  // between first and last anchor; none if they are less than 10 s apart.
  std::optional<double> drift_ppm;
};

// By track id.
std::vector<ClockQuality> MeasureClocks(
    const google::protobuf::RepeatedPtrField<api::v1::ClockAnchor>& anchors,
    absl::Time session_start);

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_CLOCK_QUALITY_H_
