#include "indexer/builder/turn_allocator.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "absl/status/statusor.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

constexpr uint32_t kTurns = uint32_t{1} << SessionNumber::kTurnBits;

}  // namespace

absl::StatusOr<std::optional<SessionNumber>> TurnAllocator::Next(
    uint32_t second) {
  while (true) {
    auto taken = taken_.find(second);
    if (taken == taken_.end()) {
      uint32_t before = 0;
      if (taken_before_) {
        ASSIGN_OR_RETURN(before, taken_before_(second));
      }
      taken = taken_.emplace(second, before).first;
    }
    if (taken->second < kTurns) {
      return SessionNumber(second, static_cast<uint16_t>(taken->second++));
    }
    if (second == std::numeric_limits<uint32_t>::max()) return std::nullopt;
    ++second;
  }
}

void TurnAllocator::Mark(SessionNumber number) {
  uint32_t& taken = taken_[number.second()];
  taken = std::max(taken, uint32_t{number.turn()} + 1);
}

}  // namespace diptych::indexer
