#ifndef INDEXER_BUILDER_TURN_ALLOCATOR_H_
#define INDEXER_BUILDER_TURN_ALLOCATOR_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// Gives sessions their numbers in the order in which the log makes them known:
// the next turn of the second that a session began in or, if that has none
// left, of the first second after it that has. The same log gives the same
// numbers, however it is cut into batches. Not thread-safe.
class TurnAllocator {
 public:
  // How many turns of a second were given before, as the index has it.
  using TakenBefore = std::function<absl::StatusOr<uint32_t>(uint32_t second)>;

  // Nothing was given before.
  TurnAllocator() = default;
  explicit TurnAllocator(TakenBefore taken_before)
      : taken_before_(std::move(taken_before)) {}

  // nullopt if there is no turn left up to the end of time. Errors are
  // TakenBefore's.
  absl::StatusOr<std::optional<SessionNumber>> Next(uint32_t second);

  // This one and all before it in its second are taken.
  void Mark(SessionNumber number);

 private:
  TakenBefore taken_before_;
  // Turns taken of the seconds that were asked for.
  absl::flat_hash_map<uint32_t, uint32_t> taken_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_TURN_ALLOCATOR_H_
