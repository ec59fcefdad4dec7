#ifndef TESTS_TAG_INDEX_CITY_LOG_H_
#define TESTS_TAG_INDEX_CITY_LOG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "tests/tag_index/city.h"

namespace diptych::bench {

// What the archiver writes of a session, but for its chunks: opening, span,
// notes, manifests that name ten chunks each, closing. Really sealed to the
// archive's recipients; the digests of what is not there are random numbers.
struct SessionRecords {
  struct Timed {
    int64_t time_us = 0;
    log::Record record;
  };
  // For the key store.
  log::Record key_wraps;
  // In the order of their times. The first is the opening; its header lacks
  // where the wraps lie.
  std::vector<Timed> records;
};
absl::StatusOr<SessionRecords> MakeRecords(
    const stored::v1::ArchiveConfig& archive, const CitySession& session);
// The same with one chunk record for each segment, whose body is no media.
absl::StatusOr<SessionRecords> MakeRecordsWithChunks(
    const stored::v1::ArchiveConfig& archive, const CitySession& session);

struct CityLogReport {
  uint64_t records = 0;
  uint64_t log_bytes = 0;
  uint64_t sessions = 0;
  uint64_t segments = 0;
};

// Writes the city's first `sessions` sessions, at most all, behind what
// DIR/volumes and DIR/keystore hold, in the order of time, as an archiver would
// have. Nothing is synced. Takes two threads. REQUIRES: nobody else writes the
// archive.
absl::StatusOr<CityLogReport> WriteCityLog(const City& city, uint64_t sessions,
                                           const std::string& data_folder);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_CITY_LOG_H_
