#include "indexer/builder/bulk_writer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/disk_room.h"
#include "indexer/builder/external_sort.h"
#include "indexer/store/chunk_pack.h"
#include "indexer/store/family.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/varint.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

namespace {

// What a chunk's row takes in memory, roughly.
constexpr size_t kChunk_bytes = 256;

}  // namespace

BulkWriter::BulkWriter(std::string path, size_t max_bytes, const DiskRoom* room)
    : path_(std::move(path)), max_bytes_(max_bytes), room_(room) {}

void BulkWriter::Put(Family family, std::string key, std::string value) {
  if (family == Family::kDictionary) {
    // Before any that has a place.
    AddWord(0, 0, key, value);
    return;
  }
  Add(family, key, value);
}

// The row's key is the block's, then the session; its value the runs.
void BulkWriter::SetPosting(const PostingList& list, SessionNumber session,
                            const RunSet& runs) {
  if (runs.empty()) return;
  std::string key = PostingBlockKey(list, session.second());
  absl::StrAppend(&key, SessionKey(session));
  std::string value;
  uint32_t next = 0;
  for (const RunSet::Range& range : runs.ranges()) {
    AppendVarint(range.first - next, &value);
    AppendVarint(range.last - range.first, &value);
    next = range.last + 1;
  }
  Add(Family::kPostings, key, value);
}

void BulkWriter::AddChunk(const base::Uuid& session,
                          const stored::v1::ChunkRow& chunk) {
  const uint32_t group = chunk.chunk() / limits::kChunksPerPack;
  ChunkGroup& gathered = chunk_groups_[session];
  if (gathered.group != group) PutChunks(session, &gathered);
  gathered.group = group;
  if (gathered.chunks.insert_or_assign(chunk.chunk(), chunk).second) ++chunks_;
  if (chunks_ * kChunk_bytes > max_bytes_ / 2) PutAllChunks();
}

void BulkWriter::PutAllChunks() {
  for (auto& [session, group] : chunk_groups_) PutChunks(session, &group);
  chunk_groups_.clear();
}

void BulkWriter::PutChunks(const base::Uuid& session, ChunkGroup* group) {
  if (group->chunks.empty()) return;
  std::vector<stored::v1::ChunkRow> rows;
  rows.reserve(group->chunks.size());
  for (auto& [number, row] : group->chunks) rows.push_back(std::move(row));
  chunks_ -= group->chunks.size();
  group->chunks.clear();
  Add(Family::kChunks, ChunkGroupKey(session, group->group), PackChunks(rows));
}

void BulkWriter::EndSession(const base::Uuid& session) {
  const auto found = chunk_groups_.find(session);
  if (found == chunk_groups_.end()) return;
  PutChunks(session, &found->second);
  chunk_groups_.erase(found);
}

// The row's key is the tag key's token, then the place; its value the rest of
// the row's key, then the row.
void BulkWriter::AddWord(uint64_t position, uint32_t place,
                         absl::string_view key, absl::string_view value) {
  constexpr size_t kToken_bytes = seal::IndexKeys::kToken_bytes;
  std::string sorted_key(key.substr(0, kToken_bytes));
  AppendBigEndian64(position, &sorted_key);
  AppendBigEndian32(place, &sorted_key);
  Add(Family::kDictionary, sorted_key,
      absl::StrCat(key.substr(kToken_bytes), value));
}

void BulkWriter::Add(Family family, absl::string_view key,
                     absl::string_view value) {
  if (!status_.ok()) return;
  rows_[static_cast<size_t>(family)].Add(key, value);
  // Looked at only where it may have become too much.
  size_t all = 0;
  size_t largest = 0;
  for (size_t i = 0; i < kFamilies; ++i) {
    all += rows_[i].bytes();
    if (rows_[i].bytes() > rows_[largest].bytes()) largest = i;
  }
  if (all > max_bytes_) status_ = SpillFamily(largest);
}

absl::Status BulkWriter::SpillFamily(size_t family) {
  if (rows_[family].empty()) return absl::OkStatus();
  if (room_ != nullptr) RETURN_IF_ERROR(room_->For(rows_[family].bytes()));
  ASSIGN_OR_RETURN(runs_[family].emplace_back(),
                   rows_[family].WriteTo(absl::StrCat(path_, ".", next_file_)));
  ++next_file_;
  return absl::OkStatus();
}

absl::Status BulkWriter::Spill() {
  RETURN_IF_ERROR(status_);
  PutAllChunks();
  for (size_t i = 0; i < kFamilies && status_.ok(); ++i) {
    status_ = SpillFamily(i);
  }
  return status_;
}

void BulkWriter::Restore(FamilyRuns runs, uint64_t next_file) {
  runs_ = std::move(runs);
  next_file_ = next_file;
}

}  // namespace diptych::indexer
