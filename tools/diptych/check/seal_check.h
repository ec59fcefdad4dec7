#ifndef TOOLS_DIPTYCH_CHECK_SEAL_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_SEAL_CHECK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_opener.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::check {

// Opens one epoch's seals of one session and says whether what is inside agrees
// with the clear headers. All functions return DATA_LOSS, naming what is false,
// and PERMISSION_DENIED where the keys at hand do not open the class. Not
// thread-safe.
class SealCheck {
 public:
  // PERMISSION_DENIED if none of the keys opens anything.
  static absl::StatusOr<SealCheck> Create(
      const base::Uuid& archive_id, const stored::v1::KeyWraps& wraps,
      const std::vector<seal::KeyPair>& keys);

  // Remembers the span's tracks: a chunk is of the last span.
  absl::Status SpanStarted(const log::StoredRecord& record,
                           const stored::v1::SpanStarted& header);
  absl::Status Notes(const log::StoredRecord& record,
                     const stored::v1::Notes& header) const;
  absl::Status AttachmentPart(const log::StoredRecord& record,
                              const stored::v1::AttachmentPart& header) const;
  // Also that the packet table and the clusters agree, and that the packets are
  // those that the header counts.
  absl::Status Chunk(const log::StoredRecord& record,
                     const stored::v1::Chunk& header) const;

 private:
  explicit SealCheck(std::unique_ptr<seal::SessionOpener> opener);

  std::unique_ptr<seal::SessionOpener> opener_;
  bool tracks_known_ = false;
  std::map<uint32_t, int> side_of_track_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_SEAL_CHECK_H_
