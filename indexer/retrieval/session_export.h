#ifndef INDEXER_RETRIEVAL_SESSION_EXPORT_H_
#define INDEXER_RETRIEVAL_SESSION_EXPORT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_reader.h"
#include "proto/api/v1/media.pb.h"

namespace diptych::indexer {

// Who takes an export. An error stops it and comes back from ExportSession.
class ExportReceiver {
 public:
  virtual ~ExportReceiver() = default;

  // Once, before any bytes. Its access_log_position is left to the receiver.
  virtual absl::Status Start(api::v1::ReadStarted started) = 0;
  virtual absl::Status Write(uint64_t offset, absl::string_view bytes) = 0;
  // Everything so far has come as far as it goes before the next chunk is read:
  // let it leave, and say whether to go on.
  virtual absl::Status Flush() = 0;
};

// Makes one file of what `range` asks for and hands it over piece by piece. A
// whole session of one span, asked for as Matroska, is the stored bytes as they
// are; everything else is a stream copy.
//
// Errors as PlanRead and Remuxer; DATA_LOSS, with the place, at the first chunk
// that is not what was stored; OUT_OF_RANGE if no packet is in the range. After
// an error what was handed over is not a whole file.
absl::StatusOr<api::v1::ReadFinished> ExportSession(
    const ReadRange& range, api::v1::Container container,
    SessionReader* session, ExportReceiver* receiver);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_SESSION_EXPORT_H_
