#include "indexer/store/batch_sink.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/store/chunk_pack.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

// The memtable likes its keys in order.
template <typename Map>
std::vector<typename Map::const_pointer> InOrder(const Map& map) {
  std::vector<typename Map::const_pointer> rows;
  rows.reserve(map.size());
  for (const auto& row : map) rows.push_back(&row);
  std::sort(rows.begin(), rows.end(),
            [](const auto* a, const auto* b) { return a->first < b->first; });
  return rows;
}

}  // namespace

void BatchSink::Put(Family family, std::string key, std::string value) {
  batch_->Put(family, std::move(key), std::move(value));
}

void BatchSink::Delete(Family family, std::string key) {
  batch_->Delete(family, std::move(key));
}

void BatchSink::SetPosting(const PostingList& list, SessionNumber session,
                           const RunSet& runs) {
  postings_[PostingBlockKey(list, session.second())][session] = runs;
}

void BatchSink::AddChunk(const base::Uuid& session,
                         const stored::v1::ChunkRow& chunk) {
  const uint32_t group = chunk.chunk() / limits::kChunksPerPack;
  chunks_[ChunkGroupKey(session, group)][chunk.chunk()] = chunk;
}

void BatchSink::Finish() {
  for (const auto* block : InOrder(postings_)) {
    std::vector<PostingEntry> entries;
    entries.reserve(block->second.size());
    for (const auto& [session, runs] : block->second) {
      entries.push_back({session, runs});
    }
    batch_->Merge(Family::kPostings, block->first,
                  EncodePostingChange(entries));
  }
  for (const auto* group : InOrder(chunks_)) {
    std::vector<stored::v1::ChunkRow> rows;
    rows.reserve(group->second.size());
    for (const auto& [number, row] : group->second) rows.push_back(row);
    batch_->Merge(Family::kChunks, group->first, PackChunks(rows));
  }
  postings_.clear();
  chunks_.clear();
}

}  // namespace diptych::indexer
