#include "indexer/store/index_options.h"

#include <memory>

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include "archiver/base/limits.h"
#include "indexer/store/family.h"
#include "indexer/store/merge_operators.h"

namespace diptych::indexer {

rocksdb::DBOptions IndexStoreOptions() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  // A torn tail of the write-ahead log costs whole batches, with their
  // position; the follower then reads them from the log again.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // All families go to disk at one moment. So whatever is lost of the
  // write-ahead log or of the manifest's end, rows and position go back
  // together.
  options.atomic_flush = true;
  options.max_open_files = limits::kIndexOpenFiles;
  options.max_background_jobs = 2;
  options.max_total_wal_size = limits::kIndexWal_bytes;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1 << 20;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  return options;
}

std::shared_ptr<rocksdb::Cache> NewIndexCache() {
  return rocksdb::NewLRUCache(limits::kIndexBlockCache_bytes);
}

rocksdb::ColumnFamilyOptions IndexFamilyOptions(
    Family family, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  if (family == Family::kPostings) options.merge_operator = NewPostingMerge();
  if (family == Family::kChunks) options.merge_operator = NewChunkMerge();
  options.compression = rocksdb::kLZ4Compression;
  options.write_buffer_size = limits::kIndexWriteBuffer_bytes;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

}  // namespace diptych::indexer
