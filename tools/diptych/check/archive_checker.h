#ifndef TOOLS_DIPTYCH_CHECK_ARCHIVE_CHECKER_H_
#define TOOLS_DIPTYCH_CHECK_ARCHIVE_CHECKER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
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
  // How much of the media bodies is read, by chance: 0 none, 1 all. All else is
  // always read.
  double data_share = 0;
  // Which they are: the same seed reads the same of the same archive.
  uint64_t seed = 0;
  // Empty: what can be checked without keys.
  std::vector<seal::KeyPair> keys;
  // Checkpoints, receipts and proofs from outside, each with its file's name;
  // at most limits::kMaxOutsideCheckpoints.
  std::vector<std::pair<std::string, std::string>> against;
  // Threads that hash.
  int threads = 1;
  // Called in the order of the log, by the caller's thread.
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
  // What gateways signed; and how much of it was held against the packets.
  uint64_t source_statements = 0;
  uint64_t source_statements_proven = 0;
  // Closed sessions of which nothing was signed.
  uint64_t unsigned_sessions = 0;
  // Leaves of the log tree, and those that its checkpoint stands for.
  uint64_t leaves = 0;
  uint64_t leaves_in_checkpoint = 0;
  // Bodies whose checksum and hash were verified, and their bytes.
  uint64_t bodies_read = 0;
  uint64_t body_bytes_read = 0;
  uint64_t seals_opened = 0;
  // Seals that the keys at hand are not for.
  uint64_t seals_without_key = 0;
  uint64_t errors = 0;
  uint64_t remarks = 0;
  uint64_t unread = 0;
};

// Reads an archive's log, key store and log tree and says what is false about
// them: damaged bytes, numbers with holes, manifests, totals, tiles and
// checkpoints that do not agree with the records, seals that do not open.
// Changes nothing; a writer may be at work meanwhile. NOT_FOUND if there is no
// archive; INVALID_ARGUMENT if something of `against` is nothing of a log.
// Findings are no error of the check itself.
absl::StatusOr<CheckCounts> CheckArchive(base::FileSystem* file_system,
                                         const CheckOptions& options);

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_ARCHIVE_CHECKER_H_
