#ifndef INDEXER_STORE_ROW_SINK_H_
#define INDEXER_STORE_ROW_SINK_H_

#include <string>

#include "archiver/base/ids.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Where rows go: into a batch of a live index, or into the sorted files of a
// new one. Later calls win over earlier ones for the same row.
class RowSink {
 public:
  virtual ~RowSink() = default;

  virtual void Put(Family family, std::string key, std::string value) = 0;
  virtual void Delete(Family family, std::string key) = 0;
  // These runs, and no others of the session, are in the list from now on.
  virtual void SetPosting(const PostingList& list, SessionNumber session,
                          const RunSet& runs) = 0;
  // Adds a chunk to those of its session; the same number again takes the
  // earlier one's place.
  virtual void AddChunk(const base::Uuid& session,
                        const stored::v1::ChunkRow& chunk) = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_ROW_SINK_H_
