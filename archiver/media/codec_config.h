#ifndef ARCHIVER_MEDIA_CODEC_CONFIG_H_
#define ARCHIVER_MEDIA_CODEC_CONFIG_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace diptych::media {

// One check per kind of codec parameters (FORMAT.md). INVALID_ARGUMENT with a
// sentence that names the place; no detail, the caller adds it. Thread-safe.

absl::Status CheckAvcConfig(absl::string_view config);
absl::Status CheckHevcConfig(absl::string_view config);
absl::Status CheckAv1Config(absl::string_view config);
absl::Status CheckOpusHead(absl::string_view config, uint32_t sample_rate_hz,
                           uint32_t channels);
absl::Status CheckAudioSpecificConfig(absl::string_view config,
                                      uint32_t sample_rate_hz,
                                      uint32_t channels);

// Opus streams in each packet. `config` has passed CheckOpusHead.
int OpusStreamCount(absl::string_view config);

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_CODEC_CONFIG_H_
