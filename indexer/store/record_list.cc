#include "indexer/store/record_list.h"

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/log/record.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

void AppendRecord(const RecordRef& record, stored::v1::RecordList* list) {
  const uint64_t last =
      std::accumulate(list->steps().begin(), list->steps().end(), uint64_t{0});
  if (list->steps_size() > 0 && record.position <= last) return;
  list->add_steps(record.position - last);
  list->mutable_types()->push_back(static_cast<char>(record.type));
}

absl::StatusOr<std::vector<RecordRef>> ReadRecordList(
    const stored::v1::RecordList& list) {
  const auto count = static_cast<size_t>(list.steps_size());
  if (list.types().size() != count) {
    return base::IntegrityError("the index has a list of records that is none");
  }
  std::vector<RecordRef> records;
  records.reserve(count);
  log::Position position = 0;
  for (size_t i = 0; i < count; ++i) {
    position += list.steps(static_cast<int>(i));
    records.push_back(
        {static_cast<log::RecordType>(static_cast<uint8_t>(list.types()[i])),
         position});
  }
  return records;
}

}  // namespace diptych::indexer
