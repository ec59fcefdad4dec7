#ifndef TESTS_TAG_INDEX_POSTGRES_SYSTEM_H_
#define TESTS_TAG_INDEX_POSTGRES_SYSTEM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {

// `connection` is libpq's: "host=/folder user=bench dbname=bench".

// Tables of rows per segment and per run, tags as text[] and as int[] with GIN
// each; and one of rows per run with a column and a b-tree (value, id) for each
// key. Vacuumed and analysed.
absl::Status MakePostgres(const City& city, const std::string& connection);

// Bytes of each table with its indexes.
absl::StatusOr<std::map<std::string, uint64_t>> SizesOfPostgres(
    const std::string& connection);

// Each table with PostgreSQL's own choice of plans, and those with GIN also
// with plans for the very parameters.
absl::StatusOr<std::vector<std::unique_ptr<Asker>>> PostgresAskers(
    const std::string& connection);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_POSTGRES_SYSTEM_H_
