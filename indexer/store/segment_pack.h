#ifndef INDEXER_STORE_SEGMENT_PACK_H_
#define INDEXER_STORE_SEGMENT_PACK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Segments of one session that share a row (FORMAT.md). Each is written as the
// step from the one before it, so a usual one takes some 19 bytes.

// REQUIRES: ascending by number, each once.
std::string PackSegments(absl::Span<const stored::v1::SegmentRow> rows);

// Those numbered first to last. DATA_LOSS if the bytes up to there are not what
// PackSegments wrote.
absl::StatusOr<std::vector<stored::v1::SegmentRow>> UnpackSegments(
    absl::string_view pack, uint32_t first = 0, uint32_t last = UINT32_MAX);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_SEGMENT_PACK_H_
