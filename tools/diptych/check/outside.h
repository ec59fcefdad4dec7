#ifndef TOOLS_DIPTYCH_CHECK_OUTSIDE_H_
#define TOOLS_DIPTYCH_CHECK_OUTSIDE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::check {

// A leaf that somebody outside knows.
struct OutsideLeaf {
  std::string name;
  log::Position position = 0;
  std::string leaf_hash;
};

// What somebody keeps of an archive outside of it: a checkpoint, or a receipt
// with one.
struct Outside {
  // The file's.
  std::string name;
  evidence::Checkpoint checkpoint;
  // A receipt's record.
  uint64_t leaf_index = 0;
  std::optional<OutsideLeaf> leaf;
};

// The archive's log key; FAILED_PRECONDITION if it names none.
absl::StatusOr<evidence::NoteKey> LogKey(
    const stored::v1::ArchiveConfig& archive);

// Takes a checkpoint (a signed note), a receipt (JSON) or a proof (C2SP
// tlog-proof) in its text. INVALID_ARGUMENT if it is none of these, or has no
// checkpoint; DATA_LOSS, naming it, if it is not signed by the archive's log or
// its own proof is false.
absl::StatusOr<Outside> ParseOutside(absl::string_view name,
                                     absl::string_view text,
                                     const stored::v1::ArchiveConfig& archive);

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_OUTSIDE_H_
