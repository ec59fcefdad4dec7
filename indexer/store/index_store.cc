#include "indexer/store/index_store.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/slice.h>
#include <rocksdb/status.h>
#include <rocksdb/write_batch.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/family.h"
#include "indexer/store/index_options.h"
#include "indexer/store/keys.h"
#include "indexer/store/rocks_generation.h"
#include "indexer/store/write_chain.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

using Handles = std::vector<rocksdb::ColumnFamilyHandle*>;

constexpr absl::string_view kNeedsRebuildReason = "INDEX_NEEDS_REBUILD";
constexpr absl::string_view kTooNewReason = "INDEX_TOO_NEW";
constexpr absl::string_view kDamagedWords =
    "it is damaged or of another program";

bool HasReason(const absl::Status& status, absl::string_view reason) {
  const auto detail = base::GetErrorDetail(status);
  return detail.has_value() && detail->reason() == reason;
}

rocksdb::ColumnFamilyOptions DefaultFamilyOptions(
    const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options =
      IndexFamilyOptions(Family::kMeta, cache);
  options.merge_operator = NewChainMerge();
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> FamiliesOf(
    uint32_t generation, const std::shared_ptr<rocksdb::Cache>& cache) {
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (size_t i = 0; i < kFamilies; ++i) {
    const auto family = static_cast<Family>(i);
    families.emplace_back(FamilyName(generation, family),
                          IndexFamilyOptions(family, cache));
  }
  return families;
}

// The generation whose family has this name; 0 if it is none.
uint32_t GenerationOf(absl::string_view name) {
  const size_t dot = name.find('.');
  uint32_t generation = 0;
  if (!absl::StartsWith(name, "g") || dot == absl::string_view::npos ||
      !absl::SimpleAtoi(name.substr(1, dot - 1), &generation)) {
    return 0;
  }
  return generation;
}

// What opening met, in words for an operator.
absl::Status OpeningFailed(const rocksdb::Status& status) {
  // RocksDB's words; the path in them must not decide.
  const std::string words = status.ToString();
  if (status.IsIOError() &&
      (absl::StrContains(words, "While lock file") ||
       absl::StrContains(words, "lock hold by current process"))) {
    return absl::FailedPreconditionError(
        "the index is in use by another process");
  }
  if (status.IsCorruption() || status.IsInvalidArgument() ||
      status.IsNotFound() || status.IsPathNotFound() ||
      // Numbers in damaged files lead to reads behind their ends.
      (status.IsIOError() && !status.IsNoSpace() &&
       absl::StrContains(words, "No such file"))) {
    return NeedsRebuild(kDamagedWords);
  }
  return FromRocks(status, "opening the index");
}

// What the default family says of the store.
struct Identity {
  std::optional<std::string> schema;
  std::optional<std::string> archive;
  std::optional<std::string> current;
  std::optional<std::string> writes;
};

absl::StatusOr<Identity> ReadIdentity(rocksdb::DB* db,
                                      rocksdb::ColumnFamilyHandle* family) {
  Identity identity;
  const auto read = [&](absl::string_view key,
                        std::optional<std::string>* value) {
    std::string bytes;
    const rocksdb::Status status =
        db->Get(rocksdb::ReadOptions(), family,
                rocksdb::Slice(key.data(), key.size()), &bytes);
    if (status.IsNotFound()) return absl::OkStatus();
    if (!status.ok()) return OpeningFailed(status);
    *value = std::move(bytes);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read(kSchemaKey, &identity.schema));
  RETURN_IF_ERROR(read(kArchiveKey, &identity.archive));
  RETURN_IF_ERROR(read(kCurrentKey, &identity.current));
  RETURN_IF_ERROR(read(kWritesKey, &identity.writes));
  return identity;
}

absl::Status CheckIdentity(const Identity& identity,
                           const base::Uuid& archive_id) {
  if (!identity.schema.has_value()) return absl::OkStatus();
  if (identity.schema->size() != 4) {
    return NeedsRebuild("its schema is unreadable");
  }
  const uint32_t version = ReadBigEndian32(*identity.schema);
  if (version > kSchemaVersion) {
    api::v1::ErrorDetail detail;
    detail.set_reason(std::string(kTooNewReason));
    return base::MakeError(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat(
            "the index can't be used: its schema ", version,
            " is newer than this program's ", kSchemaVersion,
            "; use the program that made it, or run `diptych index rebuild`"),
        detail);
  }
  if (version < kSchemaVersion) {
    return NeedsRebuild(absl::StrCat("its schema ", version,
                                     " is older than this program's ",
                                     kSchemaVersion));
  }
  if (identity.archive != std::string(archive_id.bytes())) {
    return NeedsRebuild("it belongs to another archive");
  }
  if (!identity.current.has_value() || identity.current->size() != 4 ||
      !ChainEnd(identity.writes).has_value()) {
    return NeedsRebuild("parts of it are missing");
  }
  return absl::OkStatus();
}

// Without changing anything: a later program's store must stay as it is. Only
// the default family is read.
absl::StatusOr<Identity> LookBeforeOpening(
    const std::string& directory, const base::Uuid& archive_id,
    const std::shared_ptr<rocksdb::Cache>& cache) {
  Handles handles;
  rocksdb::DB* raw = nullptr;
  rocksdb::DBOptions options = IndexStoreOptions();
  options.create_if_missing = false;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(
      options, directory,
      {{rocksdb::kDefaultColumnFamilyName, DefaultFamilyOptions(cache)}},
      &handles, &raw);
  if (!status.ok()) return OpeningFailed(status);
  const std::unique_ptr<rocksdb::DB> db(raw);
  absl::StatusOr<Identity> identity = ReadIdentity(db.get(), handles.front());
  db->DestroyColumnFamilyHandle(handles.front());
  RETURN_IF_ERROR(identity.status());
  RETURN_IF_ERROR(CheckIdentity(*identity, archive_id));
  return identity;
}

// The current generation must have all its families, and those of an index that
// counts sessions have rows. RocksDB takes the end of a list of files that was
// cut for the end.
absl::Status CheckFamilies(const Identity& identity,
                           const std::vector<std::string>& names) {
  if (!identity.schema.has_value()) return absl::OkStatus();
  const uint32_t current = ReadBigEndian32(*identity.current);
  for (size_t i = 0; i < kFamilies; ++i) {
    if (std::find(names.begin(), names.end(),
                  FamilyName(current, static_cast<Family>(i))) == names.end()) {
      return NeedsRebuild("parts of it are missing");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRows(const RocksFamilies& families) {
  std::string bytes;
  const rocksdb::Status read = families.core()->db()->Get(
      rocksdb::ReadOptions(), families.handle(Family::kMeta),
      rocksdb::Slice(kStateKey.data(), kStateKey.size()), &bytes);
  if (read.IsNotFound()) return absl::OkStatus();
  RETURN_IF_ERROR(families.CheckRead(read, "reading the index"));
  stored::v1::IndexState state;
  // Who reads the state says what is wrong with it.
  if (!state.ParseFromString(bytes) || state.sessions() == 0) {
    return absl::OkStatus();
  }
  for (const Family family :
       {Family::kIds, Family::kSessions, Family::kPostings}) {
    ASSIGN_OR_RETURN(const bool empty, IsEmpty(families, family));
    if (empty) return NeedsRebuild("parts of it are missing");
  }
  return absl::OkStatus();
}

class RocksGenerationStore final : public IndexGeneration {
 public:
  explicit RocksGenerationStore(std::shared_ptr<RocksFamilies> families)
      : families_(std::move(families)) {}
  ~RocksGenerationStore() override {
    // What can't be dropped now is at the next opening.
    if (families_ != nullptr) families_->Drop().IgnoreError();
  }
  RocksGenerationStore(const RocksGenerationStore&) = delete;
  RocksGenerationStore& operator=(const RocksGenerationStore&) = delete;

  absl::Status Write(const IndexBatch& batch) override {
    return families_->Write(batch);
  }
  std::unique_ptr<IndexSnapshot> NewSnapshot() const override {
    return NewRocksSnapshot(families_);
  }
  absl::Status Flush() override { return families_->Flush(); }
  absl::Status Ingest(const FamilyFiles& files) override {
    return families_->Ingest(files);
  }

  const std::shared_ptr<RocksFamilies>& families() const { return families_; }
  // It is not dropped any more.
  void Keep() { families_.reset(); }

 private:
  std::shared_ptr<RocksFamilies> families_;
};

class RocksDatabase final : public IndexDatabase {
 public:
  // `largest`: of all numbers that generations had.
  RocksDatabase(std::shared_ptr<RocksCore> core,
                std::shared_ptr<RocksFamilies> current, uint32_t largest)
      : core_(std::move(core)),
        current_(std::move(current)),
        largest_(largest) {}

  absl::Status Write(const IndexBatch& batch) override {
    return current()->Write(batch);
  }
  std::unique_ptr<IndexSnapshot> NewSnapshot() const override {
    return NewRocksSnapshot(current());
  }
  absl::Status Flush() override { return current()->Flush(); }

  absl::StatusOr<std::unique_ptr<IndexGeneration>> BeginGeneration() override {
    uint32_t number = 0;
    {
      base::MutexLock lock(&mutex_);
      number = ++largest_;
    }
    Handles handles;
    RETURN_IF_ERROR(
        core_->Check(core_->db()->CreateColumnFamilies(
                         FamiliesOf(number, core_->cache()), &handles),
                     "beginning a generation of the index"));
    return std::make_unique<RocksGenerationStore>(
        std::make_shared<RocksFamilies>(core_, number, std::move(handles)));
  }

  absl::Status SwitchTo(std::unique_ptr<IndexGeneration> generation) override {
    auto* const next = static_cast<RocksGenerationStore*>(generation.get());
    std::string number;
    AppendBigEndian32(next->families()->number(), &number);
    rocksdb::WriteBatch change;
    RETURN_IF_ERROR(core_->Check(
        change.Put(core_->default_family(),
                   rocksdb::Slice(kCurrentKey.data(), kCurrentKey.size()),
                   number),
        "filling a batch of the index"));
    // Syncing this syncs all that was written before it.
    RETURN_IF_ERROR(core_->Write(&change, true));
    std::shared_ptr<RocksFamilies> before;
    {
      base::MutexLock lock(&mutex_);
      before = std::exchange(current_, next->families());
    }
    next->Keep();
    before->SetCurrent(false);
    // Neither undoes the switch: families that are left go at the next opening.
    core_->ForgetDamage();
    current()->SetCurrent(true);
    before->Drop().IgnoreError();
    return absl::OkStatus();
  }

  absl::Status Compact() override { return current()->Compact(); }
  absl::StatusOr<uint64_t> FileBytes(Family family) const override {
    return current()->FileBytes(family);
  }

  bool damaged() const override { return core_->damaged(); }

 private:
  std::shared_ptr<RocksFamilies> current() const ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    return current_;
  }

  const std::shared_ptr<RocksCore> core_;
  mutable base::Mutex mutex_;
  std::shared_ptr<RocksFamilies> current_ ABSL_GUARDED_BY(mutex_);
  uint32_t largest_ ABSL_GUARDED_BY(mutex_);
};

class RocksDirectoryLock final : public IndexStore::DirectoryLock {
 public:
  explicit RocksDirectoryLock(rocksdb::FileLock* lock) : lock_(lock) {}
  ~RocksDirectoryLock() override {
    rocksdb::Env::Default()->UnlockFile(lock_).PermitUncheckedError();
  }

 private:
  rocksdb::FileLock* const lock_;
};

// The families that are there; none if there is no store. Damage asks for a
// rebuild.
absl::StatusOr<std::vector<std::string>> ListFamilies(
    const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  if (!fs::exists(absl::StrCat(directory, "/CURRENT"), error)) {
    // Rows without the file that says where they are.
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (entry.path().extension() == ".sst")
        return NeedsRebuild(kDamagedWords);
    }
    return names;
  }
  const rocksdb::Status status =
      rocksdb::DB::ListColumnFamilies(IndexStoreOptions(), directory, &names);
  if (!status.ok()) return OpeningFailed(status);
  // The layouts before the fourth had one set of families.
  if (std::find(names.begin(), names.end(), "meta") != names.end()) {
    return NeedsRebuild(absl::StrCat("its schema is older than this program's ",
                                     kSchemaVersion));
  }
  return names;
}

// Names that RocksDB and this store give to their files, but for the lock's.
// Whatever else lies in the folder is not ours to remove.
bool IsOfStore(absl::string_view name) {
  if (name == "IDENTITY" || name == kDamagedFile || name == "CURRENT") {
    return true;
  }
  for (const absl::string_view begin : {"MANIFEST-", "OPTIONS-", "LOG.old."}) {
    if (absl::StartsWith(name, begin)) return true;
  }
  if (name == "LOG") return true;
  const size_t dot = name.find('.');
  if (dot == 0 || dot == absl::string_view::npos ||
      name.substr(0, dot).find_first_not_of("0123456789") !=
          absl::string_view::npos) {
    return false;
  }
  const absl::string_view end = name.substr(dot);
  for (const absl::string_view known :
       {".sst", ".log", ".blob", ".dbtmp", ".sst.trash", ".log.trash"}) {
    if (end == known) return true;
  }
  return false;
}

// Writes what a new store says of itself. Until then it has no generation that
// counts.
absl::Status WriteIdentity(const base::Uuid& archive_id, RocksCore* core) {
  std::string schema;
  AppendBigEndian32(kSchemaVersion, &schema);
  std::string current;
  AppendBigEndian32(1, &current);
  rocksdb::WriteBatch batch;
  const auto put = [&](absl::string_view key, absl::string_view value) {
    return core->Check(batch.Put(core->default_family(),
                                 rocksdb::Slice(key.data(), key.size()),
                                 rocksdb::Slice(value.data(), value.size())),
                       "filling a batch of the index");
  };
  RETURN_IF_ERROR(put(kSchemaKey, schema));
  RETURN_IF_ERROR(put(kArchiveKey, std::string(archive_id.bytes())));
  RETURN_IF_ERROR(put(kCurrentKey, current));
  return core->Write(&batch, true);
}

}  // namespace

absl::Status NeedsRebuild(absl::string_view why) {
  api::v1::ErrorDetail detail;
  detail.set_reason(std::string(kNeedsRebuildReason));
  return base::MakeError(absl::StatusCode::kFailedPrecondition,
                         absl::StrCat("the index can't be used: ", why,
                                      "; run `diptych index rebuild`"),
                         detail);
}

bool IsNeedsRebuild(const absl::Status& status) {
  return HasReason(status, kNeedsRebuildReason);
}

absl::StatusOr<std::unique_ptr<IndexDatabase>> IndexStore::Open(
    const std::string& directory, const base::Uuid& archive_id) {
  const std::shared_ptr<rocksdb::Cache> cache = NewIndexCache();
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   ListFamilies(directory));
  absl::Status looked;
  if (!names.empty()) {
    const absl::StatusOr<Identity> identity =
        LookBeforeOpening(directory, archive_id, cache);
    looked = identity.status();
    // A later program's stays as it is, damaged or not.
    if (HasReason(looked, kTooNewReason)) return looked;
    if (looked.ok()) looked = CheckFamilies(*identity, names);
  }
  std::error_code error;
  if (fs::exists(absl::StrCat(directory, "/", kDamagedFile), error)) {
    return NeedsRebuild("it was found damaged");
  }
  if (error) {
    return absl::InternalError(
        absl::StrCat("opening the index: ", error.message()));
  }
  RETURN_IF_ERROR(looked);

  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.emplace_back(rocksdb::kDefaultColumnFamilyName,
                        DefaultFamilyOptions(cache));
  std::vector<uint32_t> generations;
  for (const std::string& name : names) {
    if (name == rocksdb::kDefaultColumnFamilyName) continue;
    const uint32_t generation = GenerationOf(name);
    if (generation == 0) return NeedsRebuild(kDamagedWords);
    if (std::find(generations.begin(), generations.end(), generation) ==
        generations.end()) {
      generations.push_back(generation);
    }
  }
  if (generations.empty()) generations.push_back(1);
  // One that is not current, and whose families are not all there, is made
  // whole, to be dropped whole.
  for (const uint32_t generation : generations) {
    for (auto& family : FamiliesOf(generation, cache)) {
      families.push_back(std::move(family));
    }
  }
  Handles handles;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(
      IndexStoreOptions(), directory, families, &handles, &raw);
  if (!status.ok()) return OpeningFailed(status);
  std::unique_ptr<rocksdb::DB> db(raw);

  const absl::StatusOr<Identity> identity =
      ReadIdentity(db.get(), handles.front());
  const auto core = std::make_shared<RocksCore>(
      directory, std::move(db), handles.front(), cache,
      identity.ok() ? ChainEnd(identity->writes).value_or(0) : 0);
  std::vector<std::shared_ptr<RocksFamilies>> found;
  for (size_t i = 0; i < generations.size(); ++i) {
    const auto first =
        handles.begin() + 1 + static_cast<std::ptrdiff_t>(i * kFamilies);
    found.push_back(std::make_shared<RocksFamilies>(
        core, generations[i], Handles(first, first + kFamilies)));
  }
  RETURN_IF_ERROR(identity.status());
  RETURN_IF_ERROR(CheckIdentity(*identity, archive_id));
  uint32_t number = 1;
  if (identity->schema.has_value()) {
    number = ReadBigEndian32(*identity->current);
  } else {
    RETURN_IF_ERROR(WriteIdentity(archive_id, core.get()));
  }
  std::shared_ptr<RocksFamilies> current;
  for (std::shared_ptr<RocksFamilies>& families_of : found) {
    if (families_of->number() == number) {
      current = std::move(families_of);
    } else {
      // Given up, or replaced, when the last program ended.
      RETURN_IF_ERROR(families_of->Drop());
    }
  }
  if (current == nullptr) return NeedsRebuild("parts of it are missing");
  current->SetCurrent(true);
  const absl::Status rows = CheckRows(*current);
  if (absl::IsDataLoss(rows)) return NeedsRebuild(kDamagedWords);
  RETURN_IF_ERROR(rows);
  return std::make_unique<RocksDatabase>(
      core, std::move(current),
      *std::max_element(generations.begin(), generations.end()));
}

absl::StatusOr<std::unique_ptr<IndexDatabase>> OpenOrReplaceIndex(
    const std::string& directory, const base::Uuid& archive_id,
    NewerIndex newer, std::string* why) {
  why->clear();
  absl::StatusOr<std::unique_ptr<IndexDatabase>> store =
      IndexStore::Open(directory, archive_id);
  if (store.ok()) return store;
  if (!IsNeedsRebuild(store.status()) &&
      (newer == NewerIndex::kRefuse ||
       !HasReason(store.status(), kTooNewReason))) {
    return store;
  }
  *why = std::string(store.status().message());
  {
    ASSIGN_OR_RETURN(const auto lock, IndexStore::LockDirectory(directory));
    std::error_code error;
    // The file that says where everything is goes first: what is left of a
    // removal that was cut short is then no store.
    fs::remove(absl::StrCat(directory, "/CURRENT"), error);
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (!IsOfStore(entry.path().filename().string())) continue;
      fs::remove(entry.path(), error);
      if (error) break;
    }
    if (error) {
      return absl::InternalError(
          absl::StrCat("removing an index: ", error.message()));
    }
  }
  return IndexStore::Open(directory, archive_id);
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
