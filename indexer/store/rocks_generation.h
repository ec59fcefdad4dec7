#ifndef INDEXER_STORE_ROCKS_GENERATION_H_
#define INDEXER_STORE_ROCKS_GENERATION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/status.h>
#include <rocksdb/write_batch.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/mutex.h"
#include "indexer/store/index_store.h"

namespace diptych::indexer {

// Rows of the default family.
inline constexpr absl::string_view kSchemaKey = "schema";
inline constexpr absl::string_view kArchiveKey = "archive";
inline constexpr absl::string_view kCurrentKey = "current";
inline constexpr absl::string_view kWritesKey = "writes";
// A file in the store's folder: damage was met.
inline constexpr absl::string_view kDamagedFile = "DAMAGED";

// The name of a generation's family in RocksDB.
std::string FamilyName(uint32_t generation, Family family);

// Without damage noted anywhere. RocksDB's messages name files and reasons,
// never keys or values.
absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what);

// RocksDB, and what all generations of a store share. Thread-safe.
class RocksCore {
 public:
  // `writes`: how many there were.
  RocksCore(std::string folder, std::unique_ptr<rocksdb::DB> db,
            rocksdb::ColumnFamilyHandle* default_family,
            std::shared_ptr<rocksdb::Cache> cache, uint64_t writes);
  ~RocksCore();
  RocksCore(const RocksCore&) = delete;
  RocksCore& operator=(const RocksCore&) = delete;

  rocksdb::DB* db() const { return db_.get(); }
  rocksdb::ColumnFamilyHandle* default_family() const {
    return default_family_;
  }
  const std::shared_ptr<rocksdb::Cache>& cache() const { return cache_; }

  // One write after the other, so that their numbers have the log's order.
  absl::Status Write(rocksdb::WriteBatch* changes, bool sync)
      ABSL_LOCKS_EXCLUDED(write_mutex_);

  // The status in our words; damage is noted.
  absl::Status Check(const rocksdb::Status& status, absl::string_view what);

  // In the file, so that the next opening knows.
  void NoteDamage();
  bool damaged() const { return damaged_; }
  void ForgetDamage();

 private:
  const std::string folder_;
  const std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* const default_family_;
  const std::shared_ptr<rocksdb::Cache> cache_;
  std::atomic<bool> damaged_ = false;
  base::Mutex write_mutex_;
  uint64_t writes_ ABSL_GUARDED_BY(write_mutex_);
};

// The families of one generation. Thread-safe.
class RocksFamilies {
 public:
  RocksFamilies(std::shared_ptr<RocksCore> core, uint32_t number,
                std::vector<rocksdb::ColumnFamilyHandle*> handles)
      : core_(std::move(core)), number_(number), handles_(std::move(handles)) {}
  ~RocksFamilies();
  RocksFamilies(const RocksFamilies&) = delete;
  RocksFamilies& operator=(const RocksFamilies&) = delete;

  RocksCore* core() const { return core_.get(); }
  uint32_t number() const { return number_; }
  const std::vector<rocksdb::ColumnFamilyHandle*>& handles() const {
    return handles_;
  }
  rocksdb::ColumnFamilyHandle* handle(Family family) const {
    return handles_[static_cast<size_t>(family)];
  }

  // The status in our words. Damage is noted if this is the current generation:
  // one that is not finished goes with its rebuild, and one that was replaced
  // is of no more use.
  absl::Status Check(const rocksdb::Status& status,
                     absl::string_view what) const;
  // The same of a read: bytes that the disk does not give are damage.
  absl::Status CheckRead(const rocksdb::Status& status,
                         absl::string_view what) const;
  void NoteDamage() const;
  void SetCurrent(bool current) { current_ = current; }

  absl::Status Write(const IndexBatch& batch);
  absl::Status Flush();
  absl::Status Ingest(const FamilyFiles& files);
  absl::Status Compact();
  absl::StatusOr<uint64_t> FileBytes(Family family) const;
  // Takes the families from the store. Their files go with the last of those
  // who use them.
  absl::Status Drop();

 private:
  const std::shared_ptr<RocksCore> core_;
  const uint32_t number_;
  const std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::atomic<bool> current_ = false;
};

std::unique_ptr<IndexSnapshot> NewRocksSnapshot(
    std::shared_ptr<RocksFamilies> families);

// Whether a family has no row that counts.
absl::StatusOr<bool> IsEmpty(const RocksFamilies& families, Family family);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_ROCKS_GENERATION_H_
