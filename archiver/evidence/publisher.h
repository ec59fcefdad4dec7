#ifndef ARCHIVER_EVIDENCE_PUBLISHER_H_
#define ARCHIVER_EVIDENCE_PUBLISHER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "archiver/base/file.h"
#include "archiver/evidence/leaf_prover.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/signing.h"

namespace diptych::evidence {

// Keeps the log tree and signs its checkpoints (FORMAT.md, "The log tree"):
// with news at least every limits::kCheckpointEvery, in the order tiles, sync,
// read back, consistency with the last checkpoint, signature. Has two threads
// of its own, one that publishes and one that answers. Thread-safe.
//
// An error of its disk is said once, and tried again every limits::kTreeRetry;
// meanwhile checkpoints lag and nothing else suffers.
class TreePublisher : public LeafProver {
 public:
  struct Options {
    base::FileSystem* file_system = nullptr;
    // DIR/tlog; made if it is not there.
    std::string directory;
    // LogOrigin of the archive.
    std::string origin;
    // Of the log. Lives as long as the publisher.
    const log::LogReader* log = nullptr;
    // Where OnRecord begins: everything before it is durable and is read from
    // the log. What comes with OnRecord lies at or after it.
    log::Position durable_end = 0;
  };

  // What was signed last.
  struct Latest {
    uint64_t size = 0;
    // A signed note.
    std::string checkpoint;
  };

  // Reads the tree that is there. DATA_LOSS if the last checkpoint is not
  // signed by `key`, if the tree is not the log's (tiles that are lost are made
  // again from the log, and must give the root that was signed), or if it has
  // leaves whose records the log does not hold: the log was cut, or another was
  // put in its place. Leaves after the last checkpoint are looked for in the
  // background.
  static absl::StatusOr<std::unique_ptr<TreePublisher>> Open(
      const Options& options, seal::SigningKey key);

  // Stops.
  ~TreePublisher() override = default;

  // For every record of the log in order, once it is durable; those that are no
  // leaves are passed over. Cheap: never waits for the disk.
  virtual void OnRecord(const log::Record& record, log::Position position) = 0;

  // nullopt before the first.
  virtual std::optional<Latest> latest() const = 0;

  // Publishes what it has been told, unless the disk fails, and ends its
  // threads; whoever waits for a proof then gets UNAVAILABLE. Nothing may be
  // told to it afterwards.
  virtual void Stop() = 0;
};

// The log is known to be durable up to here: into the record of the last leaf
// that was signed, so far as the tree in `directory` can be read; else 0. To be
// asked before the log is opened for writing, which takes a bad end for torn.
// `origin` and `public_key` are the log key's.
log::Position SignedUntil(base::FileSystem* file_system,
                          const std::string& directory,
                          const std::string& origin,
                          const std::string& public_key);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_PUBLISHER_H_
