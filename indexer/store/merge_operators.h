#ifndef INDEXER_STORE_MERGE_OPERATORS_H_
#define INDEXER_STORE_MERGE_OPERATORS_H_

#include <memory>

#include <rocksdb/merge_operator.h>

namespace diptych::indexer {

// How changes to a row come together in RocksDB. An unreadable row or change
// makes the read, or the compaction, fail as corruption: it is never passed
// over.
std::shared_ptr<rocksdb::MergeOperator> NewPostingMerge();
std::shared_ptr<rocksdb::MergeOperator> NewChunkMerge();

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_MERGE_OPERATORS_H_
