#ifndef ARCHIVER_EVIDENCE_LEAF_PROVER_H_
#define ARCHIVER_EVIDENCE_LEAF_PROVER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/log/record.h"

namespace diptych::evidence {

// A leaf of the log tree and the way from it to a checkpoint's root.
struct LeafProof {
  uint64_t index = 0;
  // From the leaf up (RFC 6962, section 2.1.1).
  std::vector<std::string> hashes;
  // A signed note.
  std::string checkpoint;
};

// Proves that a record is in the log tree, once it is. Thread-safe.
class LeafProver {
 public:
  using Done = std::function<void(const absl::StatusOr<LeafProof>&)>;

  virtual ~LeafProver() = default;

  // Calls `done` exactly once, from another thread or from this one: with the
  // proof of the leaf whose record begins at `position` as soon as a checkpoint
  // has it; DEADLINE_EXCEEDED after limits::kReceiptProofWait; NOT_FOUND if no
  // leaf begins there; RESOURCE_EXHAUSTED if limits::kMaxProofWaiters wait.
  virtual void AwaitProof(log::Position position, Done done) = 0;
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_LEAF_PROVER_H_
