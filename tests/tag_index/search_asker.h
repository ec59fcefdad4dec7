#ifndef TESTS_TAG_INDEX_SEARCH_ASKER_H_
#define TESTS_TAG_INDEX_SEARCH_ASKER_H_

#include <memory>

#include "tests/tag_index/local_index.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {

// The search itself, without the rows that a Catalog shows, as the other
// systems give ids too. `index` must outlive it.
std::unique_ptr<Asker> NewSearchAsker(LocalIndex* index);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_SEARCH_ASKER_H_
