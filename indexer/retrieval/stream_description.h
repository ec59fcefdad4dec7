#ifndef INDEXER_RETRIEVAL_STREAM_DESCRIPTION_H_
#define INDEXER_RETRIEVAL_STREAM_DESCRIPTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

struct AVStream;

namespace diptych::indexer {

// FAILED_PRECONDITION, naming the codecs that stand in the way and what takes
// them, if `container` can't carry `tracks`. INVALID_ARGUMENT if there is no
// such container.
absl::Status CheckContainer(api::v1::Container container,
                            const std::vector<stored::v1::Track>& tracks);

// Sets codec parameters, title and language of `stream`. `first_payload` is the
// track's first packet where it is known, else empty: MP4 wants to be told of
// VP9 what only the stream itself says. INVALID_ARGUMENT for an unknown codec.
absl::Status DescribeStream(const stored::v1::Track& track,
                            api::v1::Container container,
                            absl::string_view first_payload, AVStream* stream);

// Samples that every decoder of the track drops at its start (Opus pre-skip).
uint32_t DecoderDelaySamples(const stored::v1::Track& track);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_STREAM_DESCRIPTION_H_
