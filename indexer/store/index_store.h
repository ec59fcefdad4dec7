#ifndef INDEXER_STORE_INDEX_STORE_H_
#define INDEXER_STORE_INDEX_STORE_H_

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

// The store as it was at one moment. Thread-safe; outlives nothing: its
// iterators must be gone before it, and it before its store.
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
};

// The index's rows on disk. Holds nothing that the log could not make again, so
// a write is not synced: after a power loss the rows and the position beside
// them go back together. Thread-safe.
class IndexStore {
 public:
  virtual ~IndexStore() = default;

  // Opens DIR/index or makes it. FAILED_PRECONDITION, saying that the index
  // must be rebuilt, if it is another archive's, of another key or layout, or
  // damaged, and if somebody else has it open.
  static absl::StatusOr<std::unique_ptr<IndexStore>> Open(
      const std::string& directory, const base::Uuid& archive_id);

  virtual absl::Status Write(const IndexBatch& batch) = 0;
  virtual std::unique_ptr<IndexSnapshot> NewSnapshot() const = 0;

  // Puts everything on stable storage, for a store that is about to be moved.
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

// The error that tells an operator to make the index again.
absl::Status NeedsRebuild(absl::string_view why);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_INDEX_STORE_H_
