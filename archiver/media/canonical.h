#ifndef ARCHIVER_MEDIA_CANONICAL_H_
#define ARCHIVER_MEDIA_CANONICAL_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::media {

// The canonical form of each codec's parameters and packets (FORMAT.md). The
// gateway makes it, the archive's edge checks it. No decoder is involved:
// sizes, markers and lengths only. Thread-safe, bounded by the input's length.

// INVALID_ARGUMENT, with an ErrorDetail (UNKNOWN_CODEC, BAD_CODEC_CONFIG,
// BAD_TRACK and the track's id), if the track can't be archived as it is.
absl::Status CheckTrack(const api::v1::Track& track);

// INVALID_ARGUMENT (BAD_PAYLOAD) if `payload` is not one packet of `track` in
// canonical form. `track` has passed CheckTrack.
absl::Status CheckPayload(const api::v1::Track& track,
                          absl::string_view payload);

bool IsVideo(api::v1::Codec codec);

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_CANONICAL_H_
