#ifndef ARCHIVER_EVIDENCE_TREE_RECOVERY_H_
#define ARCHIVER_EVIDENCE_TREE_RECOVERY_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "archiver/base/file.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_writer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::evidence {

// The log tree as its last signature has it.
struct RecoveredTree {
  TileWriter writer;
  // Size 0 and no root if nothing was ever signed.
  Checkpoint signed_last;
  // The signed note; empty likewise.
  std::string note;
  // Of the last leaf's record.
  std::optional<log::Position> last_position;
};

// What a start does with the tree in `directory` (DIR/tlog, which is there):
// finds the last checkpoint, proves that the tiles are those it was signed for,
// makes them again from the log if they are lost, and proves that the log still
// holds the tree's last record, be it signed or not. DATA_LOSS, saying which,
// if one of these is not so. Reads the log only up to `durable_end`.
absl::StatusOr<RecoveredTree> RecoverTree(base::FileSystem* file_system,
                                          const std::string& directory,
                                          const NoteKey& log_key,
                                          const log::LogReader& log,
                                          log::Position durable_end);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TREE_RECOVERY_H_
