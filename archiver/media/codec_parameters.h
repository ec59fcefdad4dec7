#ifndef ARCHIVER_MEDIA_CODEC_PARAMETERS_H_
#define ARCHIVER_MEDIA_CODEC_PARAMETERS_H_

extern "C" {
#include <libavcodec/codec_par.h>
}

#include "absl/status/status.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {

// Fills `parameters` (freshly allocated) with what libav's muxers need to know
// of a track. Codec tags are left to the muxer.
absl::Status FillCodecParameters(const stored::v1::Track& track,
                                 AVCodecParameters* parameters);

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_CODEC_PARAMETERS_H_
