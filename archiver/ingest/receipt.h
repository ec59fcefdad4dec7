#ifndef ARCHIVER_INGEST_RECEIPT_H_
#define ARCHIVER_INGEST_RECEIPT_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "archiver/log/record.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// What a gateway gets for a session whose closing record, with this header,
// lies at `position`. The same for whoever asks again.
api::v1::Receipt MakeReceipt(absl::string_view archive_id,
                             int64_t start_time_us,
                             absl::string_view closed_header,
                             log::Position position);

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_RECEIPT_H_
