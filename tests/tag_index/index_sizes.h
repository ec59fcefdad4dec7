#ifndef TESTS_TAG_INDEX_INDEX_SIZES_H_
#define TESTS_TAG_INDEX_INDEX_SIZES_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "indexer/store/index_store.h"

namespace diptych::bench {

// What an index takes on disk.
struct IndexSizes {
  // Of each family, by name.
  std::map<std::string, uint64_t> family_bytes;
  // Runs in posting lists, counted once for each list.
  uint64_t postings = 0;
  uint64_t posting_blocks = 0;
  // Of blocks, before RocksDB compresses them.
  uint64_t posting_block_bytes = 0;
};

// Compacts the store first.
absl::StatusOr<IndexSizes> MeasureSizes(indexer::IndexDatabase* store);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_INDEX_SIZES_H_
