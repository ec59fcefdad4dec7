#ifndef INDEXER_STORE_POSTING_ENTRY_H_
#define INDEXER_STORE_POSTING_ENTRY_H_

#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// A session in a posting list, with its runs that are posted.
struct PostingEntry {
  SessionNumber session;
  // In a change, none: the session leaves the list.
  RunSet runs;

  friend bool operator==(const PostingEntry&, const PostingEntry&) = default;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_ENTRY_H_
