#include "tools/diptych/clock_quality.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/time/time.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/wire_text.h"

namespace diptych::cli {
namespace {

constexpr double kMinDriftSpan_us = 10e6;

struct Reading {
  int64_t media_us;
  int64_t offset_us;
};

ClockQuality Measure(uint32_t track_id,
                     const std::vector<const api::v1::ClockAnchor*>& anchors,
                     absl::Time session_start) {
  ClockQuality quality;
  quality.track_id = track_id;
  quality.anchors = anchors.size();
  std::set<std::string> sources;
  std::vector<Reading> readings;
  for (const api::v1::ClockAnchor* anchor : anchors) {
    sources.insert(anchor->source());
    quality.max_uncertainty_us =
        std::max(quality.max_uncertainty_us, anchor->uncertainty_us());
    readings.push_back(
        {anchor->media_us(),
         absl::ToInt64Microseconds(ToTime(anchor->wall_time()) - session_start -
                                   absl::Microseconds(anchor->media_us()))});
  }
  quality.sources.assign(sources.begin(), sources.end());
  const auto [smallest, largest] = std::minmax_element(
      readings.begin(), readings.end(), [](const Reading& a, const Reading& b) {
        return a.offset_us < b.offset_us;
      });
  quality.min_offset_us = smallest->offset_us;
  quality.max_offset_us = largest->offset_us;
  const auto [first, last] = std::minmax_element(
      readings.begin(), readings.end(), [](const Reading& a, const Reading& b) {
        return a.media_us < b.media_us;
      });
  const double span_us = static_cast<double>(last->media_us) -
                         static_cast<double>(first->media_us);
  if (span_us >= kMinDriftSpan_us) {
    quality.drift_ppm = (static_cast<double>(last->offset_us) -
                         static_cast<double>(first->offset_us)) /
                        span_us * 1e6;
  }
  return quality;
}

}  // namespace

std::vector<ClockQuality> MeasureClocks(
    const google::protobuf::RepeatedPtrField<api::v1::ClockAnchor>& anchors,
    absl::Time session_start) {
  std::map<uint32_t, std::vector<const api::v1::ClockAnchor*>> by_track;
  for (const api::v1::ClockAnchor& anchor : anchors) {
    by_track[anchor.track_id()].push_back(&anchor);
  }
  std::vector<ClockQuality> qualities;
  for (const auto& [track_id, of_track] : by_track) {
    qualities.push_back(Measure(track_id, of_track, session_start));
  }
  return qualities;
}

}  // namespace diptych::cli
