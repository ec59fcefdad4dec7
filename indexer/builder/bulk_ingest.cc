#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/disk_room.h"
#include "indexer/builder/external_sort.h"
#include "indexer/store/chunk_pack.h"
#include "indexer/store/family.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/sorted_file.h"
#include "indexer/store/varint.h"

namespace diptych::indexer {
namespace {

constexpr size_t kToken_bytes = seal::IndexKeys::kToken_bytes;
constexpr size_t kBlockKey_bytes = kToken_bytes + 4;
// How often progress is told.
constexpr uint64_t kRowsPerReport = 16'384;

// Walks merged rows, counting.
class RowWalk {
 public:
  RowWalk(std::unique_ptr<RunMerger> merger,
          std::function<absl::Status(uint64_t)> on_rows)
      : merger_(std::move(merger)), on_rows_(std::move(on_rows)) {}

  bool Valid() const { return merger_->Valid(); }
  absl::string_view key() const { return merger_->key(); }
  absl::string_view value() const { return merger_->value(); }
  absl::Status Next() {
    if (++rows_ == kRowsPerReport) {
      RETURN_IF_ERROR(on_rows_(rows_));
      rows_ = 0;
    }
    return merger_->Next();
  }

 private:
  const std::unique_ptr<RunMerger> merger_;
  const std::function<absl::Status(uint64_t)> on_rows_;
  uint64_t rows_ = 0;
};

// Of rows with the same key the last.
absl::Status MergeRows(RowWalk* rows, SortedFileWriter* out) {
  std::string key;
  std::string value;
  while (rows->Valid()) {
    key = std::string(rows->key());
    while (rows->Valid() && rows->key() == key) {
      value = std::string(rows->value());
      RETURN_IF_ERROR(rows->Next());
    }
    RETURN_IF_ERROR(out->Add(key, value));
  }
  return absl::OkStatus();
}

absl::Status MergeChunks(RowWalk* rows, SortedFileWriter* out) {
  while (rows->Valid()) {
    const std::string key(rows->key());
    std::vector<std::string> packs;
    while (rows->Valid() && rows->key() == key) {
      packs.emplace_back(rows->value());
      RETURN_IF_ERROR(rows->Next());
    }
    std::string pack = packs.front();
    if (packs.size() > 1) {
      const std::vector<absl::string_view> views(packs.begin(), packs.end());
      ASSIGN_OR_RETURN(pack, MergeChunkPacks(views));
    }
    RETURN_IF_ERROR(out->Add(key, pack));
  }
  return absl::OkStatus();
}

absl::StatusOr<RunSet> ReadRuns(absl::string_view bytes) {
  VarintReader reader(bytes);
  RunSet runs;
  uint32_t next = 0;
  while (reader.ok() && reader.left() > 0) {
    const uint32_t first = next + reader.ReadVarint32();
    const uint32_t last = first + reader.ReadVarint32();
    if (reader.ok()) runs.Append(first, last);
    next = last + 1;
  }
  if (!reader.ok()) {
    return base::IntegrityError("a sorted file is not what was written");
  }
  return runs;
}

absl::Status MergePostings(RowWalk* rows, SortedFileWriter* out) {
  std::vector<PostingEntry> entries;
  while (rows->Valid()) {
    const std::string block(rows->key().substr(0, kBlockKey_bytes));
    entries.clear();
    while (rows->Valid() && rows->key().substr(0, kBlockKey_bytes) == block) {
      const SessionNumber session =
          ReadSessionNumber(rows->key().substr(kBlockKey_bytes));
      ASSIGN_OR_RETURN(RunSet runs, ReadRuns(rows->value()));
      if (!entries.empty() && entries.back().session == session) {
        entries.back().runs = std::move(runs);
      } else {
        entries.push_back({session, std::move(runs)});
      }
      RETURN_IF_ERROR(rows->Next());
    }
    RETURN_IF_ERROR(out->Add(block, EncodePostingBlock(entries)));
  }
  return absl::OkStatus();
}

// Of each key the first values, up to one over the limit, as the builder has
// them.
absl::Status MergeWords(RowWalk* rows, SortedFileWriter* out) {
  while (rows->Valid()) {
    const std::string key(rows->key().substr(0, kToken_bytes));
    std::map<std::string, std::string> words;
    while (rows->Valid() && rows->key().substr(0, kToken_bytes) == key) {
      if (words.size() <= limits::kMaxDictionaryValues) {
        words.emplace(rows->value().substr(0, kToken_bytes),
                      rows->value().substr(kToken_bytes));
      }
      RETURN_IF_ERROR(rows->Next());
    }
    for (const auto& [value, row] : words) {
      RETURN_IF_ERROR(out->Add(absl::StrCat(key, value), row));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MergeFamily(
    Family family, std::vector<SortedRun> runs, const std::string& path,
    const DiskRoom* room, std::function<absl::Status(uint64_t)> on_rows) {
  RETURN_IF_ERROR(
      ReduceRuns(limits::kRebuildMaxMerge_files, path, room, &runs));
  uint64_t bytes = 0;
  for (const SortedRun& run : runs) bytes += run.bytes;
  if (room != nullptr) RETURN_IF_ERROR(room->For(bytes));
  ASSIGN_OR_RETURN(std::unique_ptr<RunMerger> merger, RunMerger::Open(runs));
  RowWalk rows(std::move(merger), std::move(on_rows));
  SortedFileWriter out(family, path, limits::kRebuildSst_bytes);
  switch (family) {
    case Family::kPostings:
      RETURN_IF_ERROR(MergePostings(&rows, &out));
      break;
    case Family::kChunks:
      RETURN_IF_ERROR(MergeChunks(&rows, &out));
      break;
    case Family::kDictionary:
      RETURN_IF_ERROR(MergeWords(&rows, &out));
      break;
    default:
      RETURN_IF_ERROR(MergeRows(&rows, &out));
  }
  return out.Finish();
}

}  // namespace

absl::Status IngestRuns(
    const FamilyRuns& runs, const std::string& path,
    IndexGeneration* generation,
    const std::function<absl::Status(uint64_t done, uint64_t total)>&
        on_progress,
    const DiskRoom* room) {
  // The largest first, so that threads end at about the same time.
  std::array<uint64_t, kFamilies> bytes = {};
  std::vector<size_t> order;
  uint64_t total = 0;
  for (size_t i = 0; i < kFamilies; ++i) {
    for (const SortedRun& run : runs[i]) {
      bytes[i] += run.bytes;
      total += run.rows;
    }
    if (bytes[i] > 0) order.push_back(i);
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return bytes[a] > bytes[b]; });

  uint64_t done = 0;
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  base::Mutex mutex;
  FamilyFiles sorted;
  absl::Status status;
  // Holds the mutex, so that progress comes from one thread at a time.
  const auto on_rows = [&](uint64_t rows) {
    if (failed) return absl::CancelledError();
    // Others write to the disk too.
    if (room != nullptr) RETURN_IF_ERROR(room->For(0));
    base::MutexLock lock(&mutex);
    done += rows;
    return on_progress(done, total);
  };
  const auto work = [&] {
    for (size_t i = next++; i < order.size() && !failed; i = next++) {
      const auto family = static_cast<Family>(order[i]);
      const absl::StatusOr<std::vector<std::string>> files =
          MergeFamily(family, runs[order[i]],
                      absl::StrCat(path, ".family", order[i]), room, on_rows);
      base::MutexLock lock(&mutex);
      if (files.ok()) {
        sorted[order[i]] = *files;
      } else if (!failed.exchange(true)) {
        status = files.status();
      }
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < limits::kRebuildWorkers; ++i) {
    threads.emplace_back(work);
  }
  for (std::thread& thread : threads) thread.join();
  base::MutexLock lock(&mutex);
  RETURN_IF_ERROR(status);
  return generation->Ingest(sorted);
}

}  // namespace diptych::indexer
