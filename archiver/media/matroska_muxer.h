#ifndef ARCHIVER_MEDIA_MATROSKA_MUXER_H_
#define ARCHIVER_MEDIA_MATROSKA_MUXER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/media/packet_table.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {

// Muxes one span into Matroska (RFC 9559) in memory, by libav. The span's
// header followed by the clusters of any of its chunks, in order, is a playable
// file. Block timestamps are session milliseconds; payloads are stored as they
// are. Not thread-safe.
class MatroskaMuxer {
 public:
  // `tracks` have passed CheckTrack. Container track numbers are 1, 2, ... in
  // their order.
  static absl::StatusOr<std::unique_ptr<MatroskaMuxer>> Create(
      absl::Span<const stored::v1::Track> tracks);

  virtual ~MatroskaMuxer() = default;

  // EBML header, Segment start, Info and Tracks.
  virtual const std::string& header() const = 0;

  // Adds a packet. REQUIRES: of its track, dts not before the last one's, and
  // pts not before dts.
  virtual absl::Status Write(const PacketInfo& info,
                             absl::string_view payload) = 0;

  // Ends the open cluster and returns all clusters since the last call.
  virtual absl::StatusOr<std::string> Flush() = 0;
};

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_MATROSKA_MUXER_H_
