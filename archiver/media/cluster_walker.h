#ifndef ARCHIVER_MEDIA_CLUSTER_WALKER_H_
#define ARCHIVER_MEDIA_CLUSTER_WALKER_H_

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace diptych::media {

// Id, size, track number, time and flags of the smallest SimpleBlock.
inline constexpr size_t kMinBlock_bytes = 6;

// Calls `on_block` with track number and payload of every block in `clusters`,
// which must be whole Matroska clusters (RFC 9559) and nothing else: what our
// own muxer writes. `payload` points into `clusters`. Stops at the first error
// that `on_block` returns, and returns it; DATA_LOSS, with the byte's offset,
// if the bytes can't be parsed. Knows no laced blocks. Thread-safe.
absl::Status WalkClusters(
    absl::string_view clusters,
    const std::function<absl::Status(uint64_t track_number,
                                     absl::string_view payload)>& on_block);

}  // namespace diptych::media

#endif  // ARCHIVER_MEDIA_CLUSTER_WALKER_H_
