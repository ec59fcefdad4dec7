#ifndef ARCHIVER_EVIDENCE_CHECKPOINT_H_
#define ARCHIVER_EVIDENCE_CHECKPOINT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/evidence/note.h"

namespace diptych::evidence {

// What a log's tree was once (C2SP tlog-checkpoint), as a note's text.
struct Checkpoint {
  // Which log: "diptych/ARCHIVE-UUID".
  std::string origin;
  uint64_t size = 0;
  // 32 bytes.
  std::string root;

  // The note's text, three lines.
  std::string ToText() const;
  // Lines after the third are passed over, as the specification has it.
  // INVALID_ARGUMENT if it is no checkpoint.
  static absl::StatusOr<Checkpoint> Parse(absl::string_view text);
};

// A checkpoint and the note that it came in.
struct SignedCheckpoint {
  Checkpoint checkpoint;
  SignedNote note;

  // INVALID_ARGUMENT if it is no signed note with a checkpoint. Verifies no
  // signature.
  static absl::StatusOr<SignedCheckpoint> Parse(absl::string_view note);
  // The same, signed by the log: NOT_FOUND if there is no signature by
  // `log_key`, DATA_LOSS if there is a false one, or if the checkpoint's origin
  // is not the key's name.
  static absl::StatusOr<SignedCheckpoint> Open(absl::string_view note,
                                               const NoteKey& log_key);
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_CHECKPOINT_H_
