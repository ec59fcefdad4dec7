#include "indexer/store/index_options.h"

#include <cstddef>
#include <memory>

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include "archiver/base/limits.h"
#include "indexer/store/family.h"
#include "indexer/store/merge_operators.h"

namespace diptych::indexer {
namespace {

constexpr size_t kWriteBuffers = 4;
// seal::IndexKeys::kToken_bytes: what postings' keys begin with.
constexpr size_t kToken_bytes = 16;

void SetCompression(Family family, rocksdb::ColumnFamilyOptions* options) {
  switch (family) {
    case Family::kSessions:
    case Family::kDetails:
    case Family::kDictionary:
      // What is sealed does not get smaller.
      options->compression = rocksdb::kNoCompression;
      options->bottommost_compression = rocksdb::kNoCompression;
      break;
    case Family::kMeta:
    case Family::kIds:
    case Family::kSegments:
    case Family::kChunks:
    case Family::kRuns:
    case Family::kPostings:
    case Family::kChanges:
      // Above the last level rows are soon written again, so quickly; in it
      // they stay. Postings come to 1.21 bytes each with LZ4, 1.14 with
      // Zstandard, 1.39 with none; reading them cold costs the same.
      options->compression = rocksdb::kLZ4Compression;
      options->bottommost_compression = rocksdb::kZSTD;
      break;
  }
}

void SetPostingOptions(rocksdb::ColumnFamilyOptions* options,
                       rocksdb::BlockBasedTableOptions* table) {
  options->merge_operator = NewPostingMerge();
  // Until they are merged, each read merges them. With postings written as fast
  // as it goes, and not yet on disk, three lists took 206 us with 32 and 116 us
  // with 8, and writing as long.
  options->max_successive_merges = limits::kMaxWaitingMerges;
  // Filters by list, since lists are walked and their blocks' keys not known.
  options->prefix_extractor.reset(
      rocksdb::NewFixedPrefixTransform(kToken_bytes));
  table->whole_key_filtering = false;
  // The same for what is in memory still: 85 us instead of 132 for three lists,
  // for a twentieth of the memory.
  options->memtable_prefix_bloom_size_ratio = 0.05;
}

}  // namespace

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
  // Enough for all files, so that their indexes and filters stay in memory.
  options.max_open_files = limits::kIndexOpenFiles;
  // One flushes and one compacts; queries have the rest of the machine.
  options.max_background_jobs = 2;
  options.max_total_wal_size = limits::kIndexWal_bytes;
  // What all families together may keep in memory before it goes to disk.
  options.db_write_buffer_size =
      kWriteBuffers * limits::kIndexWriteBuffer_bytes;
  // A file that is another one's, or of another size than the manifest says, is
  // found when it is opened. These are RocksDB's defaults; we count on them.
  options.paranoid_checks = true;
  options.verify_sst_unique_id_in_manifest = true;
  // 7.8 can refuse a good store with it.
  options.track_and_verify_wals_in_manifest = false;
  // Through the page cache, which has blocks as they are compressed: with a
  // block cache of a sixth of the postings, direct reads took 80 us where these
  // took 30.
  options.use_direct_reads = false;
  // A start need not read every file's properties.
  options.skip_stats_update_on_db_open = true;
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
  options.write_buffer_size = limits::kIndexWriteBuffer_bytes;
  // Nine tenths of the rows lie in the last level at any time, so that little
  // space goes to rows that others have replaced.
  options.level_compaction_dynamic_level_bytes = true;

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.format_version = 5;
  // Over every block, as it lies on disk; reads check it.
  table.checksum = rocksdb::kXXH3;
  // Postings are no smaller with 32 KiB (1.138 bytes each), and with 4 KiB
  // larger (1.181) and no faster; row packs are looked up in twos and threes
  // that lie side by side.
  table.block_size = 16 << 10;
  // Beside the table: in the cache, where data pushes them out, a look-up took
  // 11.1 us instead of 9.2. They come to 3 % of the files, too little for
  // partitions.
  table.cache_index_and_filter_blocks = false;
  // One in a hundred look-ups of what is not there reads a block in vain.
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));

  SetCompression(family, &options);
  switch (family) {
    case Family::kPostings:
      SetPostingOptions(&options, &table);
      break;
    case Family::kChunks:
      options.merge_operator = NewChunkMerge();
      options.max_successive_merges = limits::kMaxWaitingMerges;
      break;
    case Family::kSessions:
    case Family::kSegments:
    case Family::kRuns:
      // Looked up by those who know that they are there, so the last level,
      // nine tenths of all, needs no filter.
      options.optimize_filters_for_hits = true;
      break;
    case Family::kMeta:
    case Family::kIds:
    case Family::kDetails:
    case Family::kDictionary:
    case Family::kChanges:
      break;
  }
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::ReadOptions IndexWalkOptions(Family family) {
  rocksdb::ReadOptions options;
  // Lets a walk within one list use the filters: a question for a value that
  // nobody has took 4.4 us, and takes 2.9.
  options.auto_prefix_mode = family == Family::kPostings;
  // Nobody deletes ranges; looking for such was a tenth of a walk's beginning.
  options.ignore_range_deletions = true;
  // The end of a walk must not wait for files to be deleted.
  options.background_purge_on_iterator_cleanup = true;
  return options;
}

}  // namespace diptych::indexer
