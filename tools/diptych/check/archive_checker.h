#ifndef TOOLS_DIPTYCH_CHECK_ARCHIVE_CHECKER_H_
#define TOOLS_DIPTYCH_CHECK_ARCHIVE_CHECKER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/file.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "tools/diptych/check/store_report.h"

namespace diptych::check {

struct CheckOptions {
  std::string data_dir;
  // How much of the media bodies is read, by chance: 0 none, 1 all. Metadata is
  // read where there are keys.
  double data_share = 0;
  // Empty: what can be checked without keys.
  std::vector<seal::KeyPair> keys;
  // Called in the order of the log.
  std::function<void(const Finding&)> on_finding;
  // Called now and then; an error ends the check and is returned.
  std::function<absl::Status(uint64_t done_bytes, uint64_t total_bytes)>
      on_progress;
};

struct CheckCounts {
  uint64_t volumes = 0;
  uint64_t bytes = 0;
  uint64_t records = 0;
  uint64_t key_records = 0;
  uint64_t open_sessions = 0;
  uint64_t closed_sessions = 0;
  uint64_t segments = 0;
  uint64_t chunks = 0;
  uint64_t notes = 0;
  uint64_t attachment_parts = 0;
  uint64_t access_records = 0;
  // Bodies whose checksum (and hash, where a manifest names it) was verified.
  uint64_t bodies_read = 0;
  uint64_t seals_opened = 0;
  // Seals that the keys at hand are not for.
  uint64_t seals_without_key = 0;
  uint64_t errors = 0;
  uint64_t remarks = 0;
};

// Reads an archive's log and key store and says what is false about them:
// damaged bytes, numbers with holes, manifests and totals that do not agree,
// seals that do not open. Changes nothing; a writer may be at work meanwhile.
// NOT_FOUND if there is no archive. Findings are no error of the check itself.
absl::StatusOr<CheckCounts> CheckArchive(base::FileSystem* file_system,
                                         const CheckOptions& options);

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_ARCHIVE_CHECKER_H_
