#include "indexer/retrieval/export_messages.h"

#include <cstddef>
#include <cstdint>

#include "indexer/retrieval/read_plan.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

api::v1::Track ToApi(const stored::v1::Track& stored) {
  api::v1::Track track;
  track.set_track_id(stored.track_id());
  track.set_side(static_cast<api::v1::Side>(stored.side()));
  track.set_source(static_cast<api::v1::Source>(stored.source()));
  track.set_codec(static_cast<api::v1::Codec>(stored.codec()));
  track.set_codec_config(stored.codec_config());
  track.set_width(stored.width());
  track.set_height(stored.height());
  track.set_sample_rate_hz(stored.sample_rate_hz());
  track.set_channels(stored.channels());
  track.set_language(stored.language());
  track.set_parameters_in_band(stored.parameters_in_band());
  return track;
}

}  // namespace

api::v1::ReadStarted ToReadStarted(const ReadPlan& plan, int64_t origin_us) {
  api::v1::ReadStarted started;
  started.set_from_us(plan.from_us);
  started.set_to_us(plan.to_us);
  started.set_file_origin_us(origin_us);
  for (const stored::v1::Track& track : plan.tracks) {
    *started.add_tracks() = ToApi(track);
  }
  return started;
}

ExportTotals::ExportTotals(const ReadPlan& plan) {
  for (const stored::v1::Track& track : plan.tracks) {
    finished_.add_tracks()->set_track_id(track.track_id());
  }
}

void ExportTotals::Add(size_t track, size_t payload_bytes) {
  auto* totals = finished_.mutable_tracks(static_cast<int>(track));
  totals->set_packets(totals->packets() + 1);
  totals->set_payload_bytes(totals->payload_bytes() + payload_bytes);
}

api::v1::ReadFinished ExportTotals::Finish(uint64_t file_bytes) {
  finished_.set_file_bytes(file_bytes);
  return finished_;
}

}  // namespace diptych::indexer
