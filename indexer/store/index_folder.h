#ifndef INDEXER_STORE_INDEX_FOLDER_H_
#define INDEXER_STORE_INDEX_FOLDER_H_

#include <string>

#include "absl/status/status.h"

namespace diptych::indexer {

// INVALID_ARGUMENT if an index must not lie there, since it may be removed and
// made again: the archive's folder, a part of it that is not the index's, the
// keys' folder, or a folder that has one of these in it. `keys` may be empty.
absl::Status CheckIndexFolder(const std::string& index, const std::string& data,
                              const std::string& keys);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_INDEX_FOLDER_H_
