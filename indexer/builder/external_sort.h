#ifndef INDEXER_BUILDER_EXTERNAL_SORT_H_
#define INDEXER_BUILDER_EXTERNAL_SORT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "indexer/builder/disk_room.h"

namespace diptych::indexer {

// A file of rows in the order of their keys.
struct SortedRun {
  std::string path;
  uint64_t bytes = 0;
  uint64_t rows = 0;
};

// Gathers rows and writes them as sorted runs. Not thread-safe.
class RunWriter {
 public:
  // Rows in memory, in bytes.
  size_t bytes() const { return data_.size() + entries_.size() * kEntry_bytes; }
  bool empty() const { return entries_.empty(); }

  // REQUIRES: bytes() stays under 4 GiB.
  void Add(absl::string_view key, absl::string_view value);

  // Writes what was added, synced, and begins anew. Rows with equal keys stay
  // in their order.
  absl::StatusOr<SortedRun> WriteTo(const std::string& path);

 private:
  static constexpr size_t kEntry_bytes = 24;
  struct Entry {
    // The key's first bytes as a number: most comparisons end here.
    uint64_t prefix;
    uint32_t offset;
    uint32_t key_bytes;
    uint32_t value_bytes;
  };

  std::string data_;
  std::vector<Entry> entries_;
};

// Walks several runs as one, in the order of keys; rows with equal keys in the
// order of the runs. Not thread-safe.
class RunMerger {
 public:
  // DATA_LOSS if a run is not what was written. The files must stay.
  static absl::StatusOr<std::unique_ptr<RunMerger>> Open(
      const std::vector<SortedRun>& runs);
  ~RunMerger();
  RunMerger(const RunMerger&) = delete;
  RunMerger& operator=(const RunMerger&) = delete;

  bool Valid() const { return !heap_.empty(); }
  // REQUIRES: Valid(). Good until Next.
  absl::string_view key() const;
  absl::string_view value() const;
  absl::Status Next();

 private:
  class Reader;
  struct Place {
    uint64_t prefix;
    size_t reader;
  };

  RunMerger() = default;

  // True if a's row comes after b's: the heap has the first on top.
  bool After(const Place& a, const Place& b) const;
  void SiftDown();

  std::vector<std::unique_ptr<Reader>> readers_;
  std::vector<Place> heap_;
};

// Joins runs until there are at most `max`, in files named after `path`. Those
// that were joined stay, so that a checkpoint that names them stays good.
// `room` may be null.
absl::Status ReduceRuns(size_t max, const std::string& path,
                        const DiskRoom* room, std::vector<SortedRun>* runs);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_EXTERNAL_SORT_H_
