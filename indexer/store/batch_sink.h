#ifndef INDEXER_STORE_BATCH_SINK_H_
#define INDEXER_STORE_BATCH_SINK_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "archiver/base/ids.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/row_sink.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Rows into a batch of a live index. Postings and chunks are gathered, so that
// each block that the batch touches gets one change. Not thread-safe.
class BatchSink final : public RowSink {
 public:
  // `batch` must outlive it.
  explicit BatchSink(IndexBatch* batch) : batch_(batch) {}

  void Put(Family family, std::string key, std::string value) override;
  void Delete(Family family, std::string key) override;
  void SetPosting(const PostingList& list, SessionNumber session,
                  const RunSet& runs) override;
  void AddChunk(const base::Uuid& session,
                const stored::v1::ChunkRow& chunk) override;

  // Puts what was gathered into the batch. Call it last.
  void Finish();

 private:
  using Entries = std::map<SessionNumber, RunSet>;
  using Chunks = std::map<uint32_t, stored::v1::ChunkRow>;

  IndexBatch* const batch_;
  // By the keys of their rows.
  absl::flat_hash_map<std::string, Entries> postings_;
  absl::flat_hash_map<std::string, Chunks> chunks_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_BATCH_SINK_H_
