#ifndef INDEXER_RETRIEVAL_BUNDLE_EXPORT_H_
#define INDEXER_RETRIEVAL_BUNDLE_EXPORT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/retrieval/bundle_proofs.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/media.pb.h"

namespace diptych::indexer {

// Who takes a bundle. An error stops it and comes back from ExportBundle.
class BundleReceiver {
 public:
  virtual ~BundleReceiver() = default;

  // Once, before any bytes. Its access_log_position is left to the receiver.
  virtual absl::Status Start(api::v1::ReadStarted started) = 0;
  // Bytes of a file below data/.
  virtual absl::Status Write(absl::string_view path, uint64_t offset,
                             absl::string_view bytes) = 0;
  // Lets out what came so far, and says whether to go on.
  virtual absl::Status Flush() = 0;
};

struct BundleRequest {
  base::Uuid session_id;
  ReadRange range;
  // Matroska or MP4.
  api::v1::Container container = api::v1::CONTAINER_MATROSKA;
  // The access record of this very export, as it was sealed and where it lies.
  std::string access_record;
  log::Position access_position = 0;
};

// Makes the files of a bundle (archiver/evidence/BUNDLE_FORMAT.md), those that
// lie in data/, the report aside. What came after the access record is not in
// it; of an open session neither is what no manifest names yet, and ReadStarted
// says how far it goes. Media leaves while it is read; evidence is held until
// its end.
//
// Errors as PlanRead and Remuxer; FAILED_PRECONDITION if nothing of the range
// is under a manifest yet; UNAVAILABLE if index or transparency log stay
// behind; DATA_LOSS, with the place, at the first thing that is not what was
// stored.
absl::StatusOr<api::v1::ReadFinished> ExportBundle(const BundleRequest& request,
                                                   const SealedArchive& archive,
                                                   const MediaIndex& index,
                                                   const LogTree& tree,
                                                   BundleReceiver* receiver);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_BUNDLE_EXPORT_H_
