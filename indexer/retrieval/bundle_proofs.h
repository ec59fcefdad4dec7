#ifndef INDEXER_RETRIEVAL_BUNDLE_PROOFS_H_
#define INDEXER_RETRIEVAL_BUNDLE_PROOFS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/log/record.h"

namespace diptych::indexer {

// Where the transparency log lies.
struct LogTree {
  base::FileSystem* file_system = nullptr;
  // DIR/tlog.
  std::string directory;
  // True if there are witnesses whose cosignatures are worth waiting for.
  bool witnessed = false;
};

// An earlier checkpoint that somebody else vouched for.
struct Anchor {
  std::string checkpoint;
  // RFC 3161; empty for one that was cosigned.
  std::string timestamp;
  // That it is the beginning of the bundle's checkpoint.
  std::vector<std::string> consistency;
};

// Proofs that all lead to one checkpoint. Not thread-safe.
class BundleProofs {
 public:
  // CANCELLED and the like end a wait.
  using GoOn = std::function<absl::Status()>;

  // Waits until a checkpoint has the leaf whose record begins at `position`: at
  // most limits::kCheckpointWait (then UNAVAILABLE), and besides at most
  // limits::kCosignatureWait for a cosigned one, if there are witnesses and one
  // of them has ever signed.
  static absl::StatusOr<BundleProofs> Await(const LogTree& tree,
                                            log::Position position,
                                            const GoOn& go_on);

  // The signed note.
  const std::string& checkpoint() const { return checkpoint_; }

  // Of the leaf whose record begins at `position`, as a C2SP tlog-proof.
  // DATA_LOSS if the tree has another digest there, or no such leaf.
  absl::StatusOr<std::string> Prove(log::Position position,
                                    absl::string_view digest);

  // The largest leaf that was proven so far.
  uint64_t last_leaf() const { return last_leaf_; }

  // At most limits::kMaxBundleAnchors earlier checkpoints that have all leaves
  // up to `leaf`: the cosigned one if it is not checkpoint(), the earliest with
  // a time stamp, and the latest. Each checkpoint comes once.
  absl::StatusOr<std::vector<Anchor>> Anchors(uint64_t leaf);

 private:
  BundleProofs(const LogTree& tree, std::string checkpoint, uint64_t size);

  absl::StatusOr<Anchor> MakeAnchor(std::string checkpoint, uint64_t size,
                                    std::string timestamp);

  LogTree tree_;
  std::string checkpoint_;
  std::unique_ptr<evidence::TileTree> tiles_;
  uint64_t last_leaf_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_BUNDLE_PROOFS_H_
