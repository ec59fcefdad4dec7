#ifndef ARCHIVER_EVIDENCE_TREE_ADDITIONS_H_
#define ARCHIVER_EVIDENCE_TREE_ADDITIONS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/mutex.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"

namespace diptych::evidence {

// What others say of the log's checkpoints, kept in DIR/tlog beside them:
// cosignatures of witnesses (`cosigned`) and time stamps
// (`timestamps/SIZE.checkpoint`, `timestamps/SIZE.tsr`). Thread-safe; one
// writer of a folder at a time.
class TreeAdditions {
 public:
  struct Options {
    base::FileSystem* file_system = nullptr;
    // DIR/tlog.
    std::string directory;
    NoteKey log_key;
    // Type kCosignature.
    std::vector<NoteKey> witnesses;
  };

  // Its clock must outlive it.
  explicit TreeAdditions(Options options,
                         base::Clock* clock = base::Clock::Real());

  // Takes a checkpoint with the lines of one or more witnesses. `cosigned` is
  // the one that most of them have signed, and of those the latest; one that is
  // older than limits::kWitnessesWait gives way to any later one.
  // INVALID_ARGUMENT if it is no checkpoint or no known witness's line is in
  // it, DATA_LOSS if a signature is false, FAILED_PRECONDITION if the log has
  // not come so far, DATA_LOSS (and a line of the log) if the log's key has
  // signed what is not the log's tree.
  absl::Status AddCosignature(absl::string_view note)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes a time stamp over `checkpoint`, which is a signed note. Of one size
  // the first is kept: it proves most. Errors as above; INVALID_ARGUMENT also
  // if the response is not over these bytes. Of more than
  // limits::kMaxTimestamps, every second one of the older half goes.
  absl::Status AddTimestamp(absl::string_view checkpoint,
                            absl::string_view response)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Lines that came for a checkpoint, by the witness's number.
  using Lines = std::map<size_t, NoteSignature>;

  // A checkpoint of this log that is in its tree.
  absl::StatusOr<SignedCheckpoint> OpenOwn(absl::string_view note) const;
  // The lines of known witnesses.
  absl::StatusOr<Lines> LinesOf(const SignedCheckpoint& checkpoint) const;
  absl::Status Thin(const std::string& folder) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  base::Mutex mutex_;
  // By size, so that witnesses who come one after the other are brought
  // together; the latest kPending sizes.
  std::map<uint64_t, Lines> pending_ ABSL_GUARDED_BY(mutex_);
  // When this process put `cosigned` in its place.
  absl::Duration kept_since_ ABSL_GUARDED_BY(mutex_) =
      -absl::InfiniteDuration();
  base::Clock* const clock_;
};

// Sizes of the checkpoints in DIR/tlog that have a time stamp, smallest first.
absl::StatusOr<std::vector<uint64_t>> ListTimestamps(
    base::FileSystem* file_system, const std::string& directory);

// Within DIR/tlog.
std::string TimestampedCheckpointPath(uint64_t size);
std::string TimestampPath(uint64_t size);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TREE_ADDITIONS_H_
