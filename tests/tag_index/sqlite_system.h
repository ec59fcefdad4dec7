#ifndef TESTS_TAG_INDEX_SQLITE_SYSTEM_H_
#define TESTS_TAG_INDEX_SQLITE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {

// A folder with one database of rows per segment and one of rows per run, each
// a table (tag, id descending) without row ids, sorted when it is made.
absl::Status MakeSqlite(const City& city, const std::string& folder);

// Bytes of each of the two databases.
struct SqliteSizes {
  uint64_t segments_bytes = 0;
  uint64_t runs_bytes = 0;
};
absl::StatusOr<SqliteSizes> SizesOfSqlite(const std::string& folder);

// For each database: one statement with a probe per further clause, and a walk
// that leaps between the lists of a conjunction's tags.
absl::StatusOr<std::vector<std::unique_ptr<Asker>>> SqliteAskers(
    const std::string& folder);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_SQLITE_SYSTEM_H_
