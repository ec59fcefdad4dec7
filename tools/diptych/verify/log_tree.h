#ifndef TOOLS_DIPTYCH_VERIFY_LOG_TREE_H_
#define TOOLS_DIPTYCH_VERIFY_LOG_TREE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/log/record.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// A checkpoint somebody was given, and who vouches for it. Errors are
// DATA_LOSS, beginning with `place`.
//
// Fills log_key, log_key_verified, witnesses and vouching of `result`. A
// signature by a key that was given must be right; one by another key is only
// named.
absl::StatusOr<evidence::SignedCheckpoint> CheckCheckpoint(
    absl::string_view note, absl::string_view place,
    absl::string_view archive_uuid, const Trust& trust, VerifyResult* result);

// The bundle's tree: all that it proves leads to data/checkpoint.
class LogTree {
 public:
  // Reads and checks data/checkpoint. `folder` must outlive it.
  static absl::StatusOr<LogTree> Open(const BundleFolder* folder,
                                      const Evidence& evidence,
                                      const Trust& trust, VerifyResult* result);

  // Shows that the record is a leaf, and gives the leaf's index.
  absl::StatusOr<uint64_t> CheckLeaf(log::RecordType type,
                                     const ProvenHeader& header,
                                     absl::string_view body_sha256,
                                     absl::string_view place) const;

  // Earlier checkpoints of the log, their witnesses and time stamps.
  absl::Status CheckAnchors(const Evidence& evidence, const Trust& trust,
                            VerifyResult* result) const;

 private:
  LogTree(const BundleFolder* folder, evidence::SignedCheckpoint checkpoint)
      : folder_(folder), checkpoint_(std::move(checkpoint)) {}

  const BundleFolder* folder_;
  evidence::SignedCheckpoint checkpoint_;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_LOG_TREE_H_
