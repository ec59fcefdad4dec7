#ifndef INDEXER_STORE_MEDIA_INDEX_H_
#define INDEXER_STORE_MEDIA_INDEX_H_

#include <memory>

#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/session_media.h"

namespace diptych::indexer {

// MediaIndex over the rows of `store`. Both must outlive it.
std::unique_ptr<MediaIndex> NewMediaIndex(const IndexStore* store,
                                          const seal::IndexKeys* keys);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_MEDIA_INDEX_H_
