#ifndef INDEXER_STORE_CHUNK_PACK_H_
#define INDEXER_STORE_CHUNK_PACK_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Chunks of one session that share a row (FORMAT.md), packed like segments. A
// row and a change to it look the same: chunks, added to those that are there.

// REQUIRES: ascending by number, each once.
std::string PackChunks(absl::Span<const stored::v1::ChunkRow> rows);

// DATA_LOSS if the bytes are not what PackChunks wrote.
absl::StatusOr<std::vector<stored::v1::ChunkRow>> UnpackChunks(
    absl::string_view pack);

// All their chunks; of those with the same number the one in the later pack.
// The merge of the store, full or partial. DATA_LOSS if one is unreadable.
absl::StatusOr<std::string> MergeChunkPacks(
    absl::Span<const absl::string_view> packs);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_CHUNK_PACK_H_
