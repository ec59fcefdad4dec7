#ifndef INDEXER_STORE_WRITE_CHAIN_H_
#define INDEXER_STORE_WRITE_CHAIN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <rocksdb/merge_operator.h>

#include "absl/strings/string_view.h"

namespace diptych::indexer {

// The row `writes` of the default family: every write adds its number to it.
// RocksDB finds bytes that are wrong in its files, and not a write-ahead log
// that is missing between others; a hole in these numbers shows it.

// The change that write `number` adds.
std::string ChainLink(uint64_t number);

// The last write's number; nullopt if writes are missing before it, or if the
// bytes are no chain. No row: 0.
std::optional<uint64_t> ChainEnd(const std::optional<std::string>& row);

std::shared_ptr<rocksdb::MergeOperator> NewChainMerge();

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_WRITE_CHAIN_H_
