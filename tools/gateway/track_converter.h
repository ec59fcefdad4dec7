#ifndef TOOLS_GATEWAY_TRACK_CONVERTER_H_
#define TOOLS_GATEWAY_TRACK_CONVERTER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/common.pb.h"
#include "tools/gateway/libav.h"

namespace diptych::gateway {

// Brings one stream's codec parameters and packets into the canonical form of
// archiver/media/FORMAT.md, and watches for parameters that change. Apart from
// that form no byte of a packet is touched. Not thread-safe.
class TrackConverter {
 public:
  // UNIMPLEMENTED, in a plain sentence, if the codec can't be archived.
  static absl::StatusOr<std::unique_ptr<TrackConverter>> Create(
      const AVCodecParameters& parameters, api::v1::Side side,
      uint32_t track_id);
  explicit TrackConverter(const api::v1::Track& track) : track_(track) {}
  virtual ~TrackConverter() = default;

  // As it is after the last packet. What CheckTrack says of it is ready().
  const api::v1::Track& track() const { return track_; }

  // False as long as parameters are missing that only come in the stream.
  bool ready() const { return ready_; }

  enum class Change {
    kNone,
    // The packet brought what was missing: the track begins with it.
    kBecameReady,
    // track() is not what it was before: the packet is the first of the new
    // one.
    kChanged,
  };
  struct Packet {
    std::string payload;
    Change change = Change::kNone;
  };
  // INVALID_ARGUMENT if the packet can't be brought into canonical form, or is
  // not in it (CheckPayload).
  absl::StatusOr<Packet> Convert(absl::string_view data, bool key_frame);

  // The container announced other parameters; the next packet has them.
  absl::Status SetExtradata(absl::string_view extradata);
  void SetAudioFormat(uint32_t sample_rate_hz, uint32_t channels);
  void SetPictureSize(uint32_t width, uint32_t height);

 protected:
  // Takes parameters from a container; whatever is wrong shows in CheckTrack.
  virtual absl::Status ReadExtradata(absl::string_view extradata) = 0;

  // Makes the payload; may change the track.
  virtual absl::StatusOr<std::string> ReadPacket(absl::string_view data,
                                                 bool key_frame) = 0;

  api::v1::Track* mutable_track() { return &track_; }

 private:
  api::v1::Track track_;
  // As the packets so far were announced.
  api::v1::Track announced_;
  bool ready_ = false;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_TRACK_CONVERTER_H_
