#ifndef TESTS_TAG_INDEX_CITY_FEED_H_
#define TESTS_TAG_INDEX_CITY_FEED_H_

#include <string>

#include "absl/status/status.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "tests/tag_index/city.h"

namespace diptych::bench {

// Makes a city's index without any log, for cities whose log would not fit: the
// rebuild's own fold, sort and files, fed with records in the clear. Two
// threads fold. The store's current generation is then this one. Files in
// between lie in `scratch`.
absl::Status FeedIndex(const City& city, const seal::IndexKeys& keys,
                       const std::string& scratch,
                       indexer::IndexDatabase* store);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_CITY_FEED_H_
