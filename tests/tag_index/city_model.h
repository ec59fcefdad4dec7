#ifndef TESTS_TAG_INDEX_CITY_MODEL_H_
#define TESTS_TAG_INDEX_CITY_MODEL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/sqlite.h"

namespace diptych::bench {

// What an archive says of a session so far.
struct ModelSession {
  base::Uuid id;
  uint64_t number = 0;
  int64_t start_time_us = 0;
  // Its segments up to now; each has one run's tags.
  std::vector<CitySegment> segments;
  std::vector<const CityRun*> run_of_segment;
  // Outcome and rating come with the last segment.
  bool has_outcome = false;
  bool closed = false;

  // Of a run that has begun, as far as there are segments.
  uint32_t LastSegment(const CityRun& run) const {
    return std::min(run.last_segment,
                    static_cast<uint32_t>(segments.size()) - 1);
  }
  int64_t end_us() const {
    return segments.empty() ? 0 : segments.back().to_us;
  }
  // nullptr if it has none now.
  const Tag* Find(size_t segment, Key key) const;

  // What `run_of_segment` points into.
  std::shared_ptr<const CitySession> whole;
};

// The archive's sessions as plain lists, and again as SQLite's tables, a row
// for each stretch of equal tags, named by its first segment:
//   run(id, last, number, start_us, end_us, duration_us, closed, session)
//   tag(id, key, value, num)
// Neither knows of postings or pages.
class CityModel {
 public:
  static absl::StatusOr<std::unique_ptr<CityModel>> Make(
      const std::string& database);

  // How many sessions of a second have begun before: the turn of the next.
  uint64_t NextNumber(int64_t start_time_us);
  // Puts a session in, or in the place of what it was.
  absl::Status Put(const ModelSession& session);

  // By number.
  const std::map<uint64_t, ModelSession>& sessions() const { return sessions_; }
  SqliteDatabase* database() { return database_.get(); }

 private:
  CityModel() = default;

  std::map<uint64_t, ModelSession> sessions_;
  std::map<int64_t, uint64_t> turns_;
  std::unique_ptr<SqliteDatabase> database_;
};

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_CITY_MODEL_H_
