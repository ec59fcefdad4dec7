#ifndef TESTS_TAG_INDEX_CITY_RECORDS_H_
#define TESTS_TAG_INDEX_CITY_RECORDS_H_

#include <cstdint>

#include "proto/stored/v1/records.pb.h"
#include "tests/tag_index/city.h"

namespace diptych::bench {

// Hears of a session's records in the order of their times, in the clear. What
// follows from keys and from the log is left to it: where the wraps lie, hashes
// of manifests.
class CityRecordSink {
 public:
  virtual ~CityRecordSink() = default;
  virtual void OnOpened(stored::v1::SessionOpened opened) = 0;
  virtual void OnSpan(stored::v1::SpanStarted span,
                      const stored::v1::SpanDescription& description) = 0;
  virtual void OnNotes(stored::v1::Notes notes,
                       const stored::v1::NoteList& list) = 0;
  virtual void OnChunk(stored::v1::Chunk chunk) = 0;
  virtual void OnManifest(stored::v1::Segment manifest) = 0;
  virtual void OnClosed(stored::v1::SessionClosed closed) = 0;
};

enum class CityChunks {
  // Manifests name ten chunks each that are nowhere.
  kNone,
  // And each segment has one.
  kOnePerSegment,
};

// What the archiver says of a session, but for its chunks. Digests of what is
// not there are random numbers.
void TellRecords(const CitySession& session, CityChunks chunks,
                 CityRecordSink* sink);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_CITY_RECORDS_H_
