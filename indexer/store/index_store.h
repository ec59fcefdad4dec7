#ifndef INDEXER_STORE_INDEX_STORE_H_
#define INDEXER_STORE_INDEX_STORE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "indexer/store/family.h"

namespace diptych::indexer {

// The layout that this program reads and writes (FORMAT.md).
inline constexpr uint32_t kSchemaVersion = 4;

// Changes that happen together or not at all, in the order they were put in.
class IndexBatch {
 public:
  struct Change {
    Family family;
    std::string key;
    // None: the key goes.
    std::optional<std::string> value;
    // The value is a change to what is there, for the family's merge.
    bool merge = false;
  };

  void Put(Family family, std::string key, std::string value) {
    changes_.push_back({family, std::move(key), std::move(value)});
  }
  void Delete(Family family, std::string key) {
    changes_.push_back({family, std::move(key), std::nullopt});
  }
  // REQUIRES: the family has a merge: postings, chunks.
  void Merge(Family family, std::string key, std::string change) {
    changes_.push_back({family, std::move(key), std::move(change), true});
  }
  const std::vector<Change>& changes() const { return changes_; }

 private:
  std::vector<Change> changes_;
};

// Walks keys in byte order. Not thread-safe. After an error it is not valid, so
// a loop's end must look at status().
class IndexIterator {
 public:
  virtual ~IndexIterator() = default;
  virtual bool Valid() const = 0;
  // REQUIRES: Valid(). Good until the iterator moves.
  virtual absl::string_view key() const = 0;
  virtual absl::string_view value() const = 0;
  virtual void Next() = 0;
  virtual void Prev() = 0;
  // The first at or after, or the last at or before `key`.
  virtual void Seek(absl::string_view key) = 0;
  virtual void SeekForPrev(absl::string_view key) = 0;
  virtual absl::Status status() const = 0;
};

// The store as it was at one moment: of the generation that was current then.
// Thread-safe; its iterators must be gone before it, and it before its store.
class IndexSnapshot {
 public:
  virtual ~IndexSnapshot() = default;

  // nullopt if there is no such key.
  virtual absl::StatusOr<std::optional<std::string>> Get(
      Family family, absl::string_view key) const = 0;

  // Sees keys in [lower, upper); an empty bound is none. Not positioned yet.
  virtual std::unique_ptr<IndexIterator> NewIterator(
      Family family, absl::string_view lower,
      absl::string_view upper) const = 0;

  // Somebody has read a row and found that it is not what was written.
  virtual void NoteDamage() const {}
};

class IndexDatabase;

// The index's rows on disk. Holds nothing that the log could not make again, so
// a write is not synced: after a power loss the rows and the position beside
// them go back together. Thread-safe.
class IndexStore {
 public:
  virtual ~IndexStore() = default;

  // Opens DIR/index or makes it. FAILED_PRECONDITION if somebody else has it
  // open; with NeedsRebuild if it is another archive's, of an older layout, or
  // damaged; naming the schema if a later program made it.
  static absl::StatusOr<std::unique_ptr<IndexDatabase>> Open(
      const std::string& directory, const base::Uuid& archive_id);

  virtual absl::Status Write(const IndexBatch& batch) = 0;
  virtual std::unique_ptr<IndexSnapshot> NewSnapshot() const = 0;

  // Puts everything on stable storage.
  virtual absl::Status Flush() = 0;

  // Keeps others from opening a store's folder while it lives, even if what
  // lies there is broken. FAILED_PRECONDITION if somebody has it open.
  class DirectoryLock {
   public:
    virtual ~DirectoryLock() = default;
  };
  static absl::StatusOr<std::unique_ptr<DirectoryLock>> LockDirectory(
      const std::string& directory);
};

// Sorted files (SortedFile) of each family.
using FamilyFiles = std::array<std::vector<std::string>, kFamilies>;

// Rows that are to take the current ones' place: a generation, in families of
// its own, which are empty at first. Its rows go with it unless it was switched
// to. Thread-safe.
class IndexGeneration : public IndexStore {
 public:
  // Takes sorted files into families that nothing was written to: all of them
  // or none; the files are moved. REQUIRES: keys of a family's files do not
  // overlap.
  virtual absl::Status Ingest(const FamilyFiles& files) = 0;
};

// The store and its generations. Write, NewSnapshot and Flush are of the
// current one.
class IndexDatabase : public IndexStore {
 public:
  // Must be gone before the database.
  virtual absl::StatusOr<std::unique_ptr<IndexGeneration>>
  BeginGeneration() = 0;

  // Makes the generation the current one, in one durable write. Snapshots of
  // before go on seeing the one before, whose families go with the last of
  // them. What had been found damaged is forgotten with it. REQUIRES: it is of
  // this database, and nobody writes to the current one meanwhile.
  virtual absl::Status SwitchTo(
      std::unique_ptr<IndexGeneration> generation) = 0;

  // Merges each of the current generation's families into one sorted level, as
  // RocksDB would by and by. Takes long; readers go on meanwhile.
  virtual absl::Status Compact() = 0;
  // The bytes of a family's files.
  virtual absl::StatusOr<uint64_t> FileBytes(Family family) const = 0;

  // Whether a read or a write of the current generation has met damage. Stays
  // so, also for those who open it later, until another generation takes its
  // place.
  virtual bool damaged() const = 0;
};

// The error that tells an operator to make the index again.
absl::Status NeedsRebuild(absl::string_view why);
bool IsNeedsRebuild(const absl::Status& status);

// What a later program made.
enum class NewerIndex { kRefuse, kReplace };

// Opens it, or makes a new one in place of one that needs a rebuild; `why` then
// says what was wrong with that, and is empty otherwise.
absl::StatusOr<std::unique_ptr<IndexDatabase>> OpenOrReplaceIndex(
    const std::string& directory, const base::Uuid& archive_id,
    NewerIndex newer, std::string* why);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_INDEX_STORE_H_
