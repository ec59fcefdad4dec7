#ifndef INDEXER_ACCESS_ACCESS_RECORDER_H_
#define INDEXER_ACCESS_ACCESS_RECORDER_H_

#include "absl/status/statusor.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// Writes down who is about to read what. Thread-safe.
class AccessRecorder {
 public:
  virtual ~AccessRecorder() = default;

  // Seals the record to the metadata recipients, has the archiver append it
  // with the commitment to it (archiver/evidence/FORMAT.md), for which it is
  // salted if it is not (SaltAccess), and returns its log position once it is
  // on stable storage. On any error nothing may be read: UNAVAILABLE if the
  // archiver can't be reached in time.
  virtual absl::StatusOr<log::Position> Record(
      const stored::v1::AccessRecord& record) = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_ACCESS_ACCESS_RECORDER_H_
