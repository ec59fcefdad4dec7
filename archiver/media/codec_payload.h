#ifndef ARCHIVER_MEDIA_CODEC_PAYLOAD_H_
#define ARCHIVER_MEDIA_CODEC_PAYLOAD_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::media {

// One check per kind of packet (FORMAT.md). INVALID_ARGUMENT with a sentence
// that names the place; no detail, the caller adds it. Thread-safe.

// H.264 (a NAL header of 1 byte) and H.265 (2 bytes).
absl::Status CheckNalUnits(absl::string_view payload, size_t header_bytes);

absl::Status CheckAv1Payload(absl::string_view payload);
absl::Status CheckVp8Payload(absl::string_view payload);
absl::Status CheckVp9Payload(absl::string_view payload);

// `streams`: from OpusStreamCount.
absl::Status CheckOpusPayload(absl::string_view payload, int streams);

absl::Status CheckAacPayload(absl::string_view payload);

// One open bitstream unit of AV1 with a size field.
struct Av1Obu {
  int type = 0;
  size_t total_bytes = 0;
  // Inside the bytes that were parsed.
  absl::string_view content;
};

inline constexpr int kAv1SequenceHeader = 1;
inline constexpr int kAv1TemporalDelimiter = 2;
inline constexpr int kAv1TileList = 8;

// The OBU at the start of `bytes`.
absl::StatusOr<Av1Obu> ParseAv1Obu(absl::string_view bytes);

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_CODEC_PAYLOAD_H_
