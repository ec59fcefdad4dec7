#ifndef INDEXER_STORE_RECORD_LIST_H_
#define INDEXER_STORE_RECORD_LIST_H_

#include <vector>

#include "absl/status/statusor.h"
#include "archiver/log/record.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Appends a record to a row's list. One that does not lie behind the last, as
// when the log is read again, is passed over.
void AppendRecord(const RecordRef& record, stored::v1::RecordList* list);

// DATA_LOSS if the list is none.
absl::StatusOr<std::vector<RecordRef>> ReadRecordList(
    const stored::v1::RecordList& list);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_RECORD_LIST_H_
