#ifndef INDEXER_STORE_INDEX_OPTIONS_H_
#define INDEXER_STORE_INDEX_OPTIONS_H_

#include <memory>

#include <rocksdb/cache.h>
#include <rocksdb/options.h>

#include "indexer/store/family.h"

namespace diptych::indexer {

// What RocksDB is told, each with its reason. The only place for it: files that
// are made outside the store, to be taken in later, are made with the same.

rocksdb::DBOptions IndexStoreOptions();

// One cache serves all families.
std::shared_ptr<rocksdb::Cache> NewIndexCache();

rocksdb::ColumnFamilyOptions IndexFamilyOptions(
    Family family, const std::shared_ptr<rocksdb::Cache>& cache);

// For walks over a family, within bounds.
rocksdb::ReadOptions IndexWalkOptions(Family family);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_INDEX_OPTIONS_H_
