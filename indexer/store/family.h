#ifndef INDEXER_STORE_FAMILY_H_
#define INDEXER_STORE_FAMILY_H_

#include <cstddef>

namespace diptych::indexer {

// The kinds of rows; each is a key space of its own.
enum class Family {
  kMeta,
  // From a session's id to its number.
  kIds,
  kSessions,
  kSegments,
  kChunks,
  kRuns,
  kDetails,
  kPostings,
  kDictionary,
  // Which sessions the records from a position on have touched.
  kChanges,
};
inline constexpr size_t kFamilies = 10;

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_FAMILY_H_
