#ifndef INDEXER_STORE_SESSION_NUMBER_H_
#define INDEXER_STORE_SESSION_NUMBER_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace diptych::indexer {

// A session's place among all: the second in which it began (since 1970, kept
// within 32 bits), and its turn among those of that second in the order of the
// log. Follows from the log alone, so every index made from it has the same.
// Ascending is oldest first.
//
// A second with more sessions than turns lends the next ones from the seconds
// after it; stored.v1.IndexState.max_displacement_s says by how much at most.
class SessionNumber {
 public:
  static constexpr int kTurnBits = 16;
  // Of its key: big-endian, without the two leading zero bytes.
  static constexpr size_t kKey_bytes = 6;

  // Before every other.
  constexpr SessionNumber() = default;
  constexpr SessionNumber(uint32_t second, uint16_t turn)
      : value_(uint64_t{second} << kTurnBits | turn) {}
  static constexpr SessionNumber FromValue(uint64_t value) {
    SessionNumber number;
    number.value_ = value & kMask;
    return number;
  }
  static constexpr SessionNumber Largest() { return FromValue(kMask); }

  // The second of a start time, before any lending.
  static constexpr uint32_t SecondOf(int64_t start_time_us) {
    // Rounded down, so that order holds before 1970 too until it ends there.
    if (start_time_us < 0) return 0;
    const int64_t second = start_time_us / 1'000'000;
    constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
    return static_cast<uint32_t>(second < kMost ? second : kMost);
  }

  constexpr uint64_t value() const { return value_; }
  constexpr uint32_t second() const {
    return static_cast<uint32_t>(value_ >> kTurnBits);
  }
  constexpr uint16_t turn() const { return static_cast<uint16_t>(value_); }

  friend constexpr auto operator<=>(const SessionNumber&,
                                    const SessionNumber&) = default;

 private:
  static constexpr uint64_t kMask = (uint64_t{1} << 48) - 1;
  uint64_t value_ = 0;
};

// Where an answer's walk goes.
enum class Order { kNewestFirst, kOldestFirst };

// True if a comes strictly before b in the order.
constexpr bool Before(Order order, SessionNumber a, SessionNumber b) {
  return order == Order::kNewestFirst ? b < a : a < b;
}

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_SESSION_NUMBER_H_
