#ifndef TOOLS_GATEWAY_MEDIA_SOURCE_H_
#define TOOLS_GATEWAY_MEDIA_SOURCE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/source_item.h"

namespace diptych::gateway {

struct SourceOptions {
  // A media file, `-` (a container on stdin), an .sdp file, or an rtsp, rtmp,
  // srt, udp or rtp URL.
  std::string input;
  api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
  // The tracks get this id and those after it, at most
  // limits::kMaxTracksPerSide.
  uint32_t first_track_id = 1;
  // For an elementary stream that does not tell; 0: 25 pictures a second.
  double frames_per_second = 0;
  absl::Duration open_timeout = limits::kOpenInputTimeout;
  absl::Duration live_silence = limits::kLiveSilence;
  // Ends a blocking read and the source once true. May be null; must outlive
  // the source.
  const std::atomic<bool>* stop = nullptr;
};

// Reads a file or a live stream with libav and gives its packets in canonical
// form (archiver/media/FORMAT.md), in the container's order. Nothing is decoded
// and no time is changed: pts, dts and duration are the container's, in µs from
// its own zero (for live streams and transport streams, whose zero is anywhere,
// from the first packet). Times that a container leaves out are found from the
// order of pictures. What can't be archived is left out, counted and named.
// Not thread-safe, but may be used on one thread after the other.
class MediaSource {
 public:
  // Reads enough to know the tracks. NOT_FOUND if there is no such file,
  // FAILED_PRECONDITION if nothing in it can be archived, CANCELLED on stop.
  static absl::StatusOr<std::unique_ptr<MediaSource>> Open(
      const SourceOptions& options);
  virtual ~MediaSource() = default;

  // As they are before the first packet; each passes media::CheckTrack.
  virtual const std::vector<api::v1::Track>& tracks() const = 0;

  // The smallest pts of the first packets of the file (limits::kProbe_packets);
  // may be negative.
  virtual int64_t earliest_pts_us() const = 0;

  // Arrives in real time by itself.
  virtual bool live() const = 0;

  // For live sources: the moment at which time zero arrived, as well as the
  // first packets tell.
  virtual absl::Time zero_arrival() const = 0;

  // As the container says; 0 if it does not.
  virtual int64_t duration_us() const = 0;

  // The next item; nullopt at the end. Blocks while a live source is silent.
  virtual std::optional<SourceItem> Next() = 0;

  // Asks the source for a key frame of one of its tracks. False if there is
  // nobody to ask, as with files and whatever libav reads from a network.
  virtual bool RequestKeyFrame(uint32_t /*track_id*/) { return false; }

  // So far; at most limits::kMaxProblems.
  virtual const std::vector<SourceProblem>& problems() const = 0;

  // Packets that were read but can't be archived.
  virtual uint64_t unreadable_packets() const = 0;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_MEDIA_SOURCE_H_
