#ifndef ARCHIVER_INGEST_STORED_FORM_H_
#define ARCHIVER_INGEST_STORED_FORM_H_

#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// From the wire's messages to what lies on disk. They are apart on purpose:
// each may change without the other.
stored::v1::Side ToStored(api::v1::Side side);
api::v1::Side ToWire(stored::v1::Side side);
stored::v1::Track ToStored(const api::v1::Track& track);
// REQUIRES: not an attachment part, which has a record of its own.
stored::v1::Note ToStored(const api::v1::Note& note);

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_STORED_FORM_H_
