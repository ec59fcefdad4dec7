#include "archiver/ingest/receipt.h"

#include <cstdint>
#include <string>

#include <google/protobuf/util/time_util.h>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/ingest/stored_form.h"
#include "archiver/log/record.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

using google::protobuf::util::TimeUtil;

api::v1::Receipt MakeReceipt(absl::string_view archive_id,
                             int64_t start_time_us,
                             absl::string_view closed_header,
                             log::Position position) {
  stored::v1::SessionClosed closed;
  closed.ParseFromArray(closed_header.data(),
                        static_cast<int>(closed_header.size()));
  api::v1::Receipt receipt;
  receipt.set_session_id(base::Uuid::FromBytes(closed.session_id())
                             .value_or(base::Uuid())
                             .ToString());
  receipt.set_archive_id(
      base::Uuid::FromBytes(archive_id).value_or(base::Uuid()).ToString());
  receipt.set_state(closed.reason() == stored::v1::CLOSE_REASON_ABANDONED
                        ? api::v1::SESSION_STATE_ABANDONED
                        : api::v1::SESSION_STATE_CLOSED);
  *receipt.mutable_start_time() =
      TimeUtil::MicrosecondsToTimestamp(start_time_us);
  *receipt.mutable_closed_time() =
      TimeUtil::MicrosecondsToTimestamp(closed.record_time_us());
  for (const stored::v1::SideTotals& from : closed.sides()) {
    api::v1::SideTotals* side = receipt.add_sides();
    side->set_side(ToWire(from.side()));
    side->set_final_sequence(from.last_sequence());
    side->set_packets(from.packets());
    side->set_payload_bytes(from.payload_bytes());
    side->set_start_us(from.start_us());
    side->set_end_us(from.end_us());
  }
  receipt.set_segments(closed.segments());
  receipt.set_manifest_sha256(closed.manifest_sha256());
  receipt.set_log_position(position);
  receipt.set_closed_header(std::string(closed_header));
  return receipt;
}

}  // namespace diptych::ingest
