#include "tests/tag_index/index_sizes.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_block.h"

namespace diptych::bench {

using indexer::Family;

absl::StatusOr<IndexSizes> MeasureSizes(indexer::IndexDatabase* store) {
  RETURN_IF_ERROR(store->Compact());
  IndexSizes sizes;
  for (const auto& [family, name] :
       {std::pair<Family, const char*>{Family::kMeta, "meta"},
        {Family::kIds, "ids"},
        {Family::kSessions, "sessions"},
        {Family::kSegments, "segments"},
        {Family::kChunks, "chunks"},
        {Family::kRuns, "runs"},
        {Family::kDetails, "details"},
        {Family::kPostings, "postings"},
        {Family::kDictionary, "dictionary"},
        {Family::kChanges, "changes"}}) {
    ASSIGN_OR_RETURN(sizes.family_bytes[name], store->FileBytes(family));
  }
  const std::unique_ptr<indexer::IndexSnapshot> snapshot = store->NewSnapshot();
  const auto it = snapshot->NewIterator(Family::kPostings, "", "");
  for (it->Seek(""); it->Valid(); it->Next()) {
    ASSIGN_OR_RETURN(indexer::PostingBlockReader block,
                     indexer::PostingBlockReader::Open(it->value()));
    sizes.postings += block.runs();
    ++sizes.posting_blocks;
    sizes.posting_block_bytes += it->value().size();
  }
  RETURN_IF_ERROR(it->status());
  return sizes;
}

}  // namespace diptych::bench
