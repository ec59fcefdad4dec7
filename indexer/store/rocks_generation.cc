#include "indexer/store/rocks_generation.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/options.h>
#include <rocksdb/slice.h>
#include <rocksdb/snapshot.h>
#include <rocksdb/status.h>
#include <rocksdb/write_batch.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/family.h"
#include "indexer/store/index_options.h"
#include "indexer/store/index_store.h"
#include "indexer/store/write_chain.h"

namespace diptych::indexer {
namespace {

constexpr std::array<absl::string_view, kFamilies> kFamilyNames = {
    "meta", "ids",     "sessions", "segments",   "chunks",
    "runs", "details", "postings", "dictionary", "changes"};

rocksdb::Slice ToSlice(absl::string_view text) {
  return rocksdb::Slice(text.data(), text.size());
}

absl::string_view FromSlice(const rocksdb::Slice& slice) {
  return absl::string_view(slice.data(), slice.size());
}

// Of the process, not of the disk.
bool IsShortOfMeans(const rocksdb::Status& status) {
  const std::string words = status.ToString();
  for (const std::errc error : {std::errc::too_many_files_open,
                                std::errc::too_many_files_open_in_system,
                                std::errc::not_enough_memory}) {
    if (absl::StrContains(words, std::make_error_code(error).message())) {
      return true;
    }
  }
  return false;
}

class RocksIterator final : public IndexIterator {
 public:
  RocksIterator(const RocksFamilies* families, Family family,
                const rocksdb::Snapshot* snapshot, absl::string_view lower,
                absl::string_view upper)
      : families_(families),
        lower_(lower),
        upper_(upper),
        lower_slice_(lower_),
        upper_slice_(upper_) {
    rocksdb::ReadOptions options = IndexWalkOptions(family);
    options.snapshot = snapshot;
    if (!lower_.empty()) options.iterate_lower_bound = &lower_slice_;
    if (!upper_.empty()) options.iterate_upper_bound = &upper_slice_;
    iterator_.reset(
        families->core()->db()->NewIterator(options, families->handle(family)));
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
    return families_->CheckRead(iterator_->status(), "reading the index");
  }

 private:
  const RocksFamilies* const families_;
  // RocksDB keeps pointers to the bounds.
  const std::string lower_;
  const std::string upper_;
  const rocksdb::Slice lower_slice_;
  const rocksdb::Slice upper_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

class RocksSnapshot final : public IndexSnapshot {
 public:
  explicit RocksSnapshot(std::shared_ptr<RocksFamilies> families)
      : families_(std::move(families)),
        snapshot_(families_->core()->db()->GetSnapshot()) {}
  ~RocksSnapshot() override {
    families_->core()->db()->ReleaseSnapshot(snapshot_);
  }
  RocksSnapshot(const RocksSnapshot&) = delete;
  RocksSnapshot& operator=(const RocksSnapshot&) = delete;

  absl::StatusOr<std::optional<std::string>> Get(
      Family family, absl::string_view key) const override {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    std::string value;
    const rocksdb::Status status = families_->core()->db()->Get(
        options, families_->handle(family), ToSlice(key), &value);
    if (status.IsNotFound()) return std::nullopt;
    RETURN_IF_ERROR(families_->CheckRead(status, "reading the index"));
    return value;
  }

  std::unique_ptr<IndexIterator> NewIterator(
      Family family, absl::string_view lower,
      absl::string_view upper) const override {
    return std::make_unique<RocksIterator>(families_.get(), family, snapshot_,
                                           lower, upper);
  }

  void NoteDamage() const override { families_->NoteDamage(); }

 private:
  const std::shared_ptr<RocksFamilies> families_;
  const rocksdb::Snapshot* const snapshot_;
};

}  // namespace

std::string FamilyName(uint32_t generation, Family family) {
  return absl::StrCat("g", generation, ".",
                      kFamilyNames[static_cast<size_t>(family)]);
}

absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsBusy() || status.IsTryAgain()) {
    return absl::UnavailableError(message);
  }
  // A file that ought to be there.
  if (status.IsPathNotFound()) return absl::DataLossError(message);
  return absl::InternalError(message);
}

RocksCore::RocksCore(std::string folder, std::unique_ptr<rocksdb::DB> db,
                     rocksdb::ColumnFamilyHandle* default_family,
                     std::shared_ptr<rocksdb::Cache> cache, uint64_t writes)
    : folder_(std::move(folder)),
      db_(std::move(db)),
      default_family_(default_family),
      cache_(std::move(cache)),
      writes_(writes) {}

RocksCore::~RocksCore() { db_->DestroyColumnFamilyHandle(default_family_); }

absl::Status RocksCore::Write(rocksdb::WriteBatch* changes, bool sync) {
  rocksdb::WriteOptions options;
  options.sync = sync;
  base::MutexLock lock(&write_mutex_);
  RETURN_IF_ERROR(Check(changes->Merge(default_family_, ToSlice(kWritesKey),
                                       ChainLink(writes_ + 1)),
                        "filling a batch of the index"));
  RETURN_IF_ERROR(Check(db_->Write(options, changes), "writing the index"));
  ++writes_;
  return absl::OkStatus();
}

absl::Status RocksCore::Check(const rocksdb::Status& status,
                              absl::string_view what) {
  absl::Status ours = FromRocks(status, what);
  if (absl::IsDataLoss(ours)) NoteDamage();
  return ours;
}

void RocksCore::NoteDamage() {
  if (damaged_.exchange(true)) return;
  base::FileSystem* const files = base::FileSystem::Real();
  absl::Status noted =
      base::ReplaceFile(files, absl::StrCat(folder_, "/", kDamagedFile), "");
  if (noted.ok()) noted = files->SyncDirectory(folder_);
  base::LogLine(base::Severity::kError, "the index is damaged",
                {{"noted", noted.ok() ? "yes" : noted.message()}});
}

void RocksCore::ForgetDamage() {
  if (!damaged_.exchange(false)) return;
  base::FileSystem* const files = base::FileSystem::Real();
  absl::Status removed =
      files->Remove(absl::StrCat(folder_, "/", kDamagedFile));
  if (removed.ok()) removed = files->SyncDirectory(folder_);
  if (removed.ok() || absl::IsNotFound(removed)) return;
  // The next start makes it again for nothing.
  base::LogLine(base::Severity::kWarning, "the index still counts as damaged",
                {{"error", removed.message()}});
}

absl::Status RocksFamilies::Check(const rocksdb::Status& status,
                                  absl::string_view what) const {
  absl::Status ours = FromRocks(status, what);
  if (absl::IsDataLoss(ours)) NoteDamage();
  return ours;
}

absl::Status RocksFamilies::CheckRead(const rocksdb::Status& status,
                                      absl::string_view what) const {
  if (!status.IsIOError() || status.IsNoSpace() || IsShortOfMeans(status)) {
    return Check(status, what);
  }
  NoteDamage();
  return absl::DataLossError(absl::StrCat(what, ": ", status.ToString()));
}

void RocksFamilies::NoteDamage() const {
  if (current_) core_->NoteDamage();
}

RocksFamilies::~RocksFamilies() {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    core_->db()->DestroyColumnFamilyHandle(handle);
  }
}

absl::Status RocksFamilies::Write(const IndexBatch& batch) {
  rocksdb::WriteBatch changes;
  for (const IndexBatch::Change& change : batch.changes()) {
    rocksdb::ColumnFamilyHandle* const family = handle(change.family);
    const rocksdb::Status status =
        !change.value.has_value() ? changes.Delete(family, change.key)
        : change.merge ? changes.Merge(family, change.key, *change.value)
                       : changes.Put(family, change.key, *change.value);
    RETURN_IF_ERROR(Check(status, "filling a batch of the index"));
  }
  return core_->Write(&changes, false);
}

absl::Status RocksFamilies::Flush() {
  std::vector<rocksdb::ColumnFamilyHandle*> all = handles_;
  all.push_back(core_->default_family());
  RETURN_IF_ERROR(Check(core_->db()->Flush(rocksdb::FlushOptions(), all),
                        "flushing the index"));
  return Check(core_->db()->FlushWAL(true), "syncing the index");
}

absl::Status RocksFamilies::Compact() {
  RETURN_IF_ERROR(Flush());
  rocksdb::CompactRangeOptions options;
  // So that all of it is in the last level's compression.
  options.bottommost_level_compaction =
      rocksdb::BottommostLevelCompaction::kForceOptimized;
  for (rocksdb::ColumnFamilyHandle* const handle : handles_) {
    RETURN_IF_ERROR(
        Check(core_->db()->CompactRange(options, handle, nullptr, nullptr),
              "compacting the index"));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> RocksFamilies::FileBytes(Family family) const {
  uint64_t bytes = 0;
  if (!core_->db()->GetIntProperty(
          handle(family), rocksdb::DB::Properties::kLiveSstFilesSize, &bytes)) {
    return absl::InternalError("the index does not tell its files' sizes");
  }
  return bytes;
}

absl::Status RocksFamilies::Ingest(const FamilyFiles& files) {
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  options.failed_move_fall_back_to_copy = true;
  // Nothing older is there that a number would have to stand above.
  options.write_global_seqno = false;
  options.verify_checksums_before_ingest = false;
  std::vector<rocksdb::IngestExternalFileArg> all;
  for (size_t i = 0; i < kFamilies; ++i) {
    if (files[i].empty()) continue;
    rocksdb::IngestExternalFileArg& family = all.emplace_back();
    family.column_family = handles_[i];
    family.external_files = files[i];
    family.options = options;
  }
  if (all.empty()) return absl::OkStatus();
  return Check(core_->db()->IngestExternalFiles(all),
               "taking sorted files into the index");
}

absl::Status RocksFamilies::Drop() {
  return Check(core_->db()->DropColumnFamilies(handles_),
               "dropping a generation of the index");
}

absl::StatusOr<bool> IsEmpty(const RocksFamilies& families, Family family) {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  const std::unique_ptr<rocksdb::Iterator> iterator(
      families.core()->db()->NewIterator(options, families.handle(family)));
  iterator->SeekToFirst();
  if (iterator->Valid()) return false;
  RETURN_IF_ERROR(families.CheckRead(iterator->status(), "reading the index"));
  return true;
}

std::unique_ptr<IndexSnapshot> NewRocksSnapshot(
    std::shared_ptr<RocksFamilies> families) {
  return std::make_unique<RocksSnapshot>(std::move(families));
}

}  // namespace diptych::indexer
