#include "indexer/store/index_store.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/family.h"
#include "indexer/store/index_options.h"
#include "indexer/store/keys.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::indexer {
namespace {

constexpr std::array<const char*, kFamilies> kFamilyNames = {
    "meta", "ids",     "sessions", "segments",   "chunks",
    "runs", "details", "postings", "dictionary", "changes"};
constexpr absl::string_view kSchemaKey = "schema";
constexpr absl::string_view kArchiveKey = "archive";

rocksdb::Slice ToSlice(absl::string_view text) {
  return rocksdb::Slice(text.data(), text.size());
}

absl::string_view FromSlice(const rocksdb::Slice& slice) {
  return absl::string_view(slice.data(), slice.size());
}

// RocksDB's messages name files and reasons, never keys or values.
absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsBusy() || status.IsTryAgain()) {
    return absl::UnavailableError(message);
  }
  return absl::InternalError(message);
}

class RocksIterator final : public IndexIterator {
 public:
  RocksIterator(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family,
                const rocksdb::Snapshot* snapshot, absl::string_view lower,
                absl::string_view upper)
      : lower_(lower),
        upper_(upper),
        lower_slice_(lower_),
        upper_slice_(upper_) {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot;
    if (!lower_.empty()) options.iterate_lower_bound = &lower_slice_;
    if (!upper_.empty()) options.iterate_upper_bound = &upper_slice_;
    iterator_.reset(db->NewIterator(options, family));
  }

  bool Valid() const override { return iterator_->Valid(); }
  absl::string_view key() const override { return FromSlice(iterator_->key()); }
  absl::string_view value() const override {
    return FromSlice(iterator_->value());
  }
  void Next() override { iterator_->Next(); }
  void Prev() override { iterator_->Prev(); }
  void Seek(absl::string_view key) override { iterator_->Seek(ToSlice(key)); }
  void SeekForPrev(absl::string_view key) override {
    iterator_->SeekForPrev(ToSlice(key));
  }
  absl::Status status() const override {
    return FromRocks(iterator_->status(), "reading the index");
  }

 private:
  // RocksDB keeps pointers to the bounds.
  const std::string lower_;
  const std::string upper_;
  const rocksdb::Slice lower_slice_;
  const rocksdb::Slice upper_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

using Handles = std::vector<rocksdb::ColumnFamilyHandle*>;

class RocksSnapshot final : public IndexSnapshot {
 public:
  RocksSnapshot(rocksdb::DB* db, const Handles* handles)
      : db_(db), handles_(handles), snapshot_(db->GetSnapshot()) {}
  ~RocksSnapshot() override { db_->ReleaseSnapshot(snapshot_); }
  RocksSnapshot(const RocksSnapshot&) = delete;
  RocksSnapshot& operator=(const RocksSnapshot&) = delete;

  absl::StatusOr<std::optional<std::string>> Get(
      Family family, absl::string_view key) const override {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    std::string value;
    const rocksdb::Status status =
        db_->Get(options, (*handles_)[static_cast<size_t>(family)],
                 ToSlice(key), &value);
    if (status.IsNotFound()) return std::nullopt;
    RETURN_IF_ERROR(FromRocks(status, "reading the index"));
    return value;
  }

  std::unique_ptr<IndexIterator> NewIterator(
      Family family, absl::string_view lower,
      absl::string_view upper) const override {
    return std::make_unique<RocksIterator>(
        db_, (*handles_)[static_cast<size_t>(family)], snapshot_, lower, upper);
  }

 private:
  rocksdb::DB* const db_;
  const Handles* const handles_;
  const rocksdb::Snapshot* const snapshot_;
};

class RocksStore final : public IndexStore {
 public:
  RocksStore(std::unique_ptr<rocksdb::DB> db, Handles handles)
      : db_(std::move(db)), handles_(std::move(handles)) {}
  ~RocksStore() override {
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      db_->DestroyColumnFamilyHandle(handle);
    }
  }
  RocksStore(const RocksStore&) = delete;
  RocksStore& operator=(const RocksStore&) = delete;

  absl::Status Write(const IndexBatch& batch) override {
    rocksdb::WriteBatch changes;
    for (const IndexBatch::Change& change : batch.changes()) {
      rocksdb::ColumnFamilyHandle* family =
          handles_[static_cast<size_t>(change.family)];
      const rocksdb::Status status =
          !change.value.has_value() ? changes.Delete(family, change.key)
          : change.merge ? changes.Merge(family, change.key, *change.value)
                         : changes.Put(family, change.key, *change.value);
      RETURN_IF_ERROR(FromRocks(status, "filling a batch of the index"));
    }
    return FromRocks(db_->Write(rocksdb::WriteOptions(), &changes),
                     "writing the index");
  }

  std::unique_ptr<IndexSnapshot> NewSnapshot() const override {
    return std::make_unique<RocksSnapshot>(db_.get(), &handles_);
  }

  absl::Status Flush() override {
    RETURN_IF_ERROR(FromRocks(db_->Flush(rocksdb::FlushOptions(), handles_),
                              "flushing the index"));
    return FromRocks(db_->SyncWAL(), "syncing the index");
  }

 private:
  const std::unique_ptr<rocksdb::DB> db_;
  const Handles handles_;
};

// Checks what the store says of itself; a new one is told.
absl::Status CheckIdentity(IndexStore* store, const base::Uuid& archive_id) {
  const std::unique_ptr<IndexSnapshot> snapshot = store->NewSnapshot();
  ASSIGN_OR_RETURN(const std::optional<std::string> schema,
                   snapshot->Get(Family::kMeta, kSchemaKey));
  ASSIGN_OR_RETURN(const std::optional<std::string> archive,
                   snapshot->Get(Family::kMeta, kArchiveKey));
  if (!schema.has_value()) {
    IndexBatch batch;
    std::string version;
    AppendBigEndian32(kSchemaVersion, &version);
    batch.Put(Family::kMeta, std::string(kSchemaKey), version);
    batch.Put(Family::kMeta, std::string(kArchiveKey),
              std::string(archive_id.bytes()));
    return store->Write(batch);
  }
  if (schema->size() != 4) return NeedsRebuild("its schema is unreadable");
  const uint32_t version = ReadBigEndian32(*schema);
  if (version > kSchemaVersion) {
    return NeedsRebuild(absl::StrCat("its schema ", version,
                                     " is newer than this program's ",
                                     kSchemaVersion));
  }
  if (version < kSchemaVersion) {
    return NeedsRebuild(absl::StrCat("its schema ", version,
                                     " is older than this program's ",
                                     kSchemaVersion));
  }
  if (archive != std::string(archive_id.bytes())) {
    return NeedsRebuild("it belongs to another archive");
  }
  return absl::OkStatus();
}

class RocksDirectoryLock final : public IndexStore::DirectoryLock {
 public:
  explicit RocksDirectoryLock(rocksdb::FileLock* lock) : lock_(lock) {}
  ~RocksDirectoryLock() override {
    rocksdb::Env::Default()->UnlockFile(lock_).PermitUncheckedError();
  }

 private:
  rocksdb::FileLock* const lock_;
};

}  // namespace

absl::Status NeedsRebuild(absl::string_view why) {
  api::v1::ErrorDetail detail;
  detail.set_reason("INDEX_NEEDS_REBUILD");
  return base::MakeError(absl::StatusCode::kFailedPrecondition,
                         absl::StrCat("the index can't be used: ", why,
                                      "; run `diptych index rebuild`"),
                         detail);
}

absl::StatusOr<std::unique_ptr<IndexStore>> IndexStore::Open(
    const std::string& directory, const base::Uuid& archive_id) {
  const std::shared_ptr<rocksdb::Cache> cache = NewIndexCache();
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  // RocksDB insists on a default family; nothing is in it.
  families.emplace_back(rocksdb::kDefaultColumnFamilyName,
                        IndexFamilyOptions(Family::kMeta, cache));
  for (size_t i = 0; i < kFamilies; ++i) {
    families.emplace_back(kFamilyNames[i],
                          IndexFamilyOptions(static_cast<Family>(i), cache));
  }
  Handles handles;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(
      IndexStoreOptions(), directory, families, &handles, &raw);
  if (status.IsCorruption() || status.IsInvalidArgument()) {
    return NeedsRebuild("it is damaged or of another program");
  }
  if (status.IsIOError() &&
      status.ToString().find("lock") != std::string::npos) {
    return absl::FailedPreconditionError(
        "the index is in use by another process");
  }
  RETURN_IF_ERROR(FromRocks(status, "opening the index"));
  std::unique_ptr<rocksdb::DB> db(raw);
  db->DestroyColumnFamilyHandle(handles.front());
  handles.erase(handles.begin());
  auto store = std::make_unique<RocksStore>(std::move(db), std::move(handles));
  RETURN_IF_ERROR(CheckIdentity(store.get(), archive_id));
  return store;
}

absl::StatusOr<std::unique_ptr<IndexStore::DirectoryLock>>
IndexStore::LockDirectory(const std::string& directory) {
  rocksdb::FileLock* lock = nullptr;
  const rocksdb::Status status = rocksdb::Env::Default()->LockFile(
      absl::StrCat(directory, "/LOCK"), &lock);
  if (!status.ok()) {
    return absl::FailedPreconditionError(
        "the index is in use by another process: stop the daemon first");
  }
  return std::make_unique<RocksDirectoryLock>(lock);
}

}  // namespace diptych::indexer
